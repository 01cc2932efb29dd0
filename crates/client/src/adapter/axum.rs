//! Handlers of axum.

use std::convert::Infallible;

use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use waypost_resilience::Context;

use crate::error::Error;

/// What an incoming call hands down to the calls that its handler makes: deadline, number of the
/// try, trace.
///
/// Behind `waypost_resilience::ExpiryLayer`, and so in every service of `waypost-server`, calls find
/// it by themselves. This is for handlers elsewhere, and for tasks that a handler spawns:
///
/// ```no_run
/// use axum::extract::State;
/// use waypost_client::{Client, Error, OnBehalf};
///
/// async fn orders(State(client): State<Client>, OnBehalf(context): OnBehalf) -> Result<String, Error> {
///     let call = client.call::<_, String>("stock", "Stock.Level", "nails");
///     context.scope(call).await
/// }
/// # let _: axum::Router<Client> = axum::Router::new().route("/orders", axum::routing::get(orders));
/// ```
#[derive(Debug, Clone)]
pub struct OnBehalf(pub Context);

impl<S: Send + Sync> FromRequestParts<S> for OnBehalf {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let current = Context::current();
        if current.deadline().is_some() || current.traceparent().is_some() {
            return Ok(Self(current));
        }
        Ok(Self(Context::from_headers(&parts.headers)))
    }
}

/// A failed call as an answer: its code as status, go-micro's error JSON as body.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = Response::new(self.to_json().into());
        *response.status_mut() = status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}

//! A middleware for clients of reqwest.

use std::net::IpAddr;

use http::header::HOST;
use http::{Extensions, HeaderValue};
use reqwest::{Request, Response};
use reqwest_middleware::{Error as Failed, Middleware, Next};
use tokio::time::{Instant, timeout_at};
use waypost_resilience::{
    Attempts, CallInfo, Context, Deadline, Outcome as Ended, Pushback, Rules, Sent, Verdict, code,
};
use waypost_selector::{Outcome, Pick};

use crate::attempt::{Judged, blame};
use crate::call::pause;
use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::options::CallOptions;
use crate::route::Route;

/// Sends requests for `http://service-name/path` to nodes of that service, by the rules of the
/// client: it picks, marks and retries. What has a port, another scheme or an IP address passes
/// untouched.
///
/// The URL's authority is that of the node, anew for each attempt, and `Host` stays the service's
/// name. Connections, proxies and compression are reqwest's. Give it a `connect_timeout` (250 ms do):
/// only a connection that failed by itself is known to have sent nothing. URLs have no capital
/// letters in a host, so neither can the service's name.
#[derive(Debug, Clone)]
pub struct ReqwestMiddleware {
    client: Client,
}

impl Client {
    /// A middleware for `reqwest_middleware::ClientBuilder::with`.
    #[must_use]
    pub fn reqwest(&self) -> ReqwestMiddleware {
        let client = self.clone();
        ReqwestMiddleware { client }
    }
}

#[async_trait::async_trait]
impl Middleware for ReqwestMiddleware {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response, Failed> {
        let Some(service) = service(&request) else {
            return next.run(request, extensions).await;
        };
        let route = self.client.route(&service).await;
        let route = route.map_err(Failed::middleware)?;
        let options = extensions.get::<CallOptions>().cloned();
        let timeout = options.as_ref().and_then(|one| one.timeout);
        let timeout = timeout.or_else(|| request.timeout().copied());
        let timeout = timeout.unwrap_or(self.client.settings().timeout);
        let context = Context::current();
        let deadline = Deadline::after(timeout).earlier_of(context.deadline());
        let call = Call {
            service: &service,
            route: &route,
            client: &self.client,
            options: options.as_ref(),
            context,
            deadline,
        };
        call.run(request, extensions, next).await
    }
}

/// The service that a request is for, if it is for one.
fn service(request: &Request) -> Option<String> {
    let url = request.url();
    let host = url.host_str()?;
    let is_service = url.scheme() == "http" && url.port().is_none();
    let is_address = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
    (is_service && !is_address).then(|| host.to_owned())
}

/// One request with its attempts.
struct Call<'a> {
    service: &'a str,
    route: &'a Route,
    client: &'a Client,
    options: Option<&'a CallOptions>,
    context: Context,
    deadline: Deadline,
}

impl Call<'_> {
    async fn run(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response, Failed> {
        let path = request.url().path().to_owned();
        let idempotent = self.options.and_then(|one| one.idempotent);
        let idempotent = idempotent.unwrap_or_else(|| request.method().is_idempotent());
        let info = CallInfo::new(self.service, &path).with_idempotent(idempotent);
        let retry = self.options.and_then(|one| one.retry.as_ref());
        let rules = Rules {
            retry: retry.unwrap_or(&self.client.settings().retry),
            budget: &self.route.budget,
            call: &info,
            deadline: self.deadline,
        };
        let mut attempts = Attempts::new(self.context.attempt());
        let ended = |error: Error, attempts: &Attempts| {
            Failed::middleware(error.of_call(self.service, &path, attempts.started()))
        };
        match attempts.first(&rules, Instant::now()) {
            Verdict::Go { wait } => pause(wait).await,
            Verdict::End(_) => {
                let error = Error::new(ErrorKind::Timeout, "no time was left to begin");
                return Err(ended(error, &attempts));
            }
            Verdict::Fail(own) => {
                let error = Error::new(ErrorKind::Node, "refused").with_source(own);
                return Err(ended(error, &attempts));
            }
        }
        let mut nodes = self
            .route
            .balancer
            .select(self.route.choice(self.options, idempotent));
        let picked = nodes.next();
        let mut pick = picked.map_err(|none| ended(self.route.nobody(&none), &attempts))?;
        let mut request = Some(request);
        loop {
            let Some(mut one) = request.take() else {
                let error = Error::new(ErrorKind::Transport, "the request cannot be sent again");
                return Err(ended(error, &attempts));
            };
            // A body that streams has no copy, and no second attempt.
            request = one.try_clone();
            let limit = limit(&rules, attempts.is_last(&rules) || request.is_none());
            self.address(&mut one, &pick)
                .map_err(|error| ended(error, &attempts))?;
            limit.write_to(one.headers_mut());
            self.context.write_to(one.headers_mut(), attempts.number());
            let sending = next.clone().run(one, extensions);
            let tried = Tried::of(timeout_at(limit.at(), sending).await);
            if tried.judged.code < code::BAD_REQUEST {
                pick.mark(Outcome::SUCCESS);
                return tried.result.map_err(|error| ended(error, &attempts));
            }
            self.route.meter.attempt(tried.judged.code);
            let coming = nodes.next();
            let fresh = coming.as_ref().is_ok_and(|coming| !nodes.is_repeat(coming));
            let verdict = request.is_some().then(|| {
                let outcome = Ended::new(tried.judged.code, tried.sent)
                    .with_node(pick.node().id().as_str())
                    .with_pushback(tried.judged.wish);
                attempts.after(&rules, &outcome, fresh, Instant::now())
            });
            let node = pick.node().id().clone();
            pick.mark(tried.judged.outcome);
            match (verdict, coming) {
                (Some(Verdict::Go { wait }), Ok(coming)) => {
                    pause(wait).await;
                    pick = coming;
                }
                (Some(Verdict::Fail(own)), _) => {
                    let error = Error::new(ErrorKind::Node, "the retry policy ended the call");
                    let error = error.with_node(node).with_sent(tried.sent).with_source(own);
                    return Err(ended(error, &attempts));
                }
                (Some(Verdict::End(why)), _) => {
                    return tried
                        .result
                        .map_err(|error| ended(error.with_node(node).ended_by(why), &attempts));
                }
                _ => {
                    return tried
                        .result
                        .map_err(|error| ended(error.with_node(node), &attempts));
                }
            }
        }
    }

    /// Points the request at the node, and keeps the name in `Host`.
    fn address(&self, request: &mut Request, pick: &Pick) -> Result<(), Error> {
        let address = pick.node().address();
        let host = HeaderValue::from_str(self.service);
        let host = host.map_err(|_| Error::config("the service's name cannot be a header"))?;
        let url = request.url_mut();
        let bare = address.host().trim_matches(['[', ']']);
        let set = match bare.parse::<IpAddr>() {
            Ok(ip) => url.set_ip_host(ip).is_ok(),
            Err(_) => url.set_host(Some(bare)).is_ok(),
        };
        if !set || url.set_port(Some(address.port())).is_err() {
            let text = format!("the address {address} cannot be put into a URL");
            return Err(Error::config(text).with_node(pick.node().id()));
        }
        request.headers_mut().entry(HOST).or_insert(host);
        Ok(())
    }
}

/// When the coming attempt must be over.
fn limit(rules: &Rules<'_>, is_last: bool) -> Deadline {
    let now = Instant::now();
    let left = rules.deadline.remaining_at(now);
    let limit = rules.retry.attempt_timeout().limit(left, is_last);
    Deadline::after_at(limit, now).earlier(rules.deadline)
}

/// One attempt's end.
struct Tried {
    result: Result<Response, Error>,
    sent: Sent,
    judged: Judged,
}

impl Tried {
    fn of(ended: Result<Result<Response, Failed>, tokio::time::error::Elapsed>) -> Self {
        let error = match ended {
            Ok(Ok(response)) => {
                let judged = Judged::of_head(response.status(), response.headers(), false);
                return Self {
                    result: Ok(response),
                    sent: Sent::Answered,
                    judged,
                };
            }
            Ok(Err(failed)) if failed.is_connect() => {
                Error::new(ErrorKind::Connect, "no connection").with_source(failed)
            }
            Ok(Err(failed)) if failed.is_timeout() => {
                Error::new(ErrorKind::Timeout, "no answer in time")
                    .with_sent(Sent::Maybe)
                    .with_source(failed)
            }
            Ok(Err(failed)) => Error::new(ErrorKind::Transport, "the call broke")
                .with_sent(Sent::Maybe)
                .with_source(failed),
            Err(_) => Error::new(ErrorKind::Timeout, "no answer in time").with_sent(Sent::Maybe),
        };
        Self {
            sent: error.sent(),
            judged: Judged {
                code: error.code(),
                outcome: blame(&error),
                wish: Pushback::default(),
            },
            result: Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_names_are_services() {
        let read = |url: &str| {
            let url = url.parse().expect("a URL");
            service(&Request::new(http::Method::GET, url))
        };
        assert_eq!(read("http://greeter/hello").as_deref(), Some("greeter"));
        assert_eq!(
            read("http://go.micro.srv.greeter/").as_deref(),
            Some("go.micro.srv.greeter")
        );
        for other in [
            "https://greeter/",
            "http://greeter:8080/",
            "http://127.0.0.1/",
            "http://[::1]/",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}

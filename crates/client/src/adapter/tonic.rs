//! Generated clients of tonic.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use tonic::transport::Endpoint;
use tonic::transport::channel::Change;
use tonic::{Code, Status};
use tower_service::Service;
use waypost_core::{Instance, NodeId};
use waypost_resilience::code;

use super::Discovered;
use crate::body::BoxError;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::grpc::GrpcChannel;

/// A failed call as gRPC says it, with the node's name in the message and the [`Error`] as source.
impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let code = Code::from_i32(i32::from(code::to_grpc(error.code())));
        let mut status = Self::new(code, error.to_string());
        status.set_source(Arc::new(error));
        status
    }
}

/// Takes the place of `tonic::transport::Channel` in generated clients: a [`GrpcChannel`] whose
/// errors are `tonic::Status` with the code they mean.
#[derive(Debug, Clone)]
pub struct TonicChannel {
    channel: GrpcChannel,
}

impl Client {
    /// A channel to `service` for generated clients: `GreeterClient::new(client.tonic("greeter")?)`.
    ///
    /// # Errors
    /// As [`Client::grpc`].
    pub fn tonic(&self, service: &str) -> Result<TonicChannel> {
        let channel = self.grpc(service)?;
        Ok(TonicChannel { channel })
    }

    /// The nodes of `service` as changes for `tonic`'s own `Channel::balance_channel`.
    ///
    /// For programs that keep that channel for now; it fails calls that it sends to a node which is
    /// not there, and [`Client::tonic`] does not.
    ///
    /// ```no_run
    /// # async fn example(client: waypost_client::Client) -> waypost_client::Result<()> {
    /// use futures_util::StreamExt;
    /// use tonic::transport::Channel;
    ///
    /// let (channel, changes) = Channel::balance_channel(64);
    /// let mut nodes = client.endpoint_stream("greeter").await?;
    /// tokio::spawn(async move {
    ///     while let Some(change) = nodes.next().await {
    ///         if changes.send(change).await.is_err() {
    ///             break;
    ///         }
    ///     }
    /// });
    /// # let _ = channel;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::prepare`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn endpoint_stream(&self, service: &str) -> Result<EndpointStream> {
        let nodes = self.discover(service, endpoint).await?;
        Ok(EndpointStream { nodes })
    }
}

/// An address that is no URI is left out: nothing could be sent there.
fn endpoint(instance: &Instance) -> Option<Endpoint> {
    let made = Endpoint::from_shared(format!("http://{}", instance.node.address));
    if let Err(error) = &made {
        tracing::warn!(node = %instance.node.id, %error, "the node's address is no URI");
    }
    made.ok()
}

/// What [`Client::endpoint_stream`] returns.
#[derive(Debug)]
pub struct EndpointStream {
    nodes: Discovered<Option<Endpoint>>,
}

impl Stream for EndpointStream {
    type Item = Change<NodeId, Endpoint>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let Poll::Ready(next) = Pin::new(&mut self.nodes).poll_next(cx) else {
                return Poll::Pending;
            };
            return Poll::Ready(match next {
                None => None,
                Some(Ok(tower::discover::Change::Insert(id, Some(endpoint)))) => {
                    Some(Change::Insert(id, endpoint))
                }
                Some(Ok(tower::discover::Change::Remove(id))) => Some(Change::Remove(id)),
                Some(Ok(tower::discover::Change::Insert(_, None))) => continue,
                Some(Err(never)) => match never {},
            });
        }
    }
}

impl<B> Service<Request<B>> for TonicChannel
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<tonic::body::Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    /// Always: whether a node can take a call is known when one is picked.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let call = self.channel.call(request);
        Box::pin(async move {
            let answer = call.await?;
            Ok(answer.map(|body| tonic::body::Body::new(body.map_err(status))))
        })
    }
}

fn status(error: BoxError) -> Status {
    match error.downcast::<Error>() {
        Ok(error) => (*error).into(),
        Err(error) => Status::from_error(error),
    }
}

//! gRPC as generated clients speak it, over channels of tonic.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use tonic::body::Body;
use tonic::client::{Grpc, GrpcService};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{GrpcMethod, Request, Status};

use crate::turn::{Caller, IN_FLIGHT};

const MESSAGE: &[u8] = &[b'm'; 100];

/// Messages as they are.
#[derive(Debug, Clone, Copy, Default)]
struct Plain;

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = from.remaining();
        Ok(Some(from.copy_to_bytes(length)))
    }
}

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

/// What a generated client does, over whatever takes the place of a channel.
pub(crate) struct Generated<T> {
    grpc: Grpc<T>,
}

impl<T> Generated<T> {
    pub(crate) fn new(channel: T) -> Self {
        Self {
            grpc: Grpc::new(channel),
        }
    }
}

impl<T> Caller for Generated<T>
where
    T: GrpcService<Body> + Send + 'static,
    T::Future: Send,
    T::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    T::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    <T::ResponseBody as http_body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    async fn call(&mut self) -> Result<()> {
        let ready = self.grpc.ready().await;
        ready.map_err(|error| anyhow::anyhow!(error.into()))?;
        let mut request = Request::new(Bytes::from_static(MESSAGE));
        let method = GrpcMethod::new("bench.Echo", "Say");
        request.extensions_mut().insert(method);
        let path = PathAndQuery::from_static("/bench.Echo/Say");
        let said = self.grpc.unary(request, path, Plain).await?.into_inner();
        ensure!(said.len() == MESSAGE.len(), "{} bytes", said.len());
        Ok(())
    }
}

fn endpoint(server: &SocketAddr) -> Result<Endpoint> {
    Ok(Endpoint::from_shared(format!("http://{server}"))?)
}

/// Callers in turn over one channel a server.
pub(crate) async fn channels(servers: &[SocketAddr]) -> Result<Vec<Generated<Channel>>> {
    let mut channels = Vec::new();
    for server in servers {
        channels.push(endpoint(server)?.connect().await?);
    }
    let callers = channels.iter().cycle().take(IN_FLIGHT);
    Ok(callers.cloned().map(Generated::new).collect())
}

pub(crate) fn balanced(servers: &[SocketAddr]) -> Result<Vec<Generated<Channel>>> {
    let endpoints = servers.iter().map(endpoint).collect::<Result<Vec<_>>>()?;
    let channel = Channel::balance_list(endpoints.into_iter());
    let callers = (0..IN_FLIGHT).map(|_| Generated::new(channel.clone()));
    Ok(callers.collect())
}

//! Calls that survive: a service's name in, an answer out, whatever one node, one network or the
//! registry does.
//!
//! A [`Client`] reads nodes from a directory, picks one a call, and tries another where that is
//! safe. [`Client::call`] is go-micro's: a service, an endpoint, a message. It has an HTTP face ([`Client::request`], [`Client::http`]) and a gRPC face
//! ([`Client::grpc`]).
//!
//! * A node that refuses, or is gone, or cannot be reached, fails no call while another lives:
//!   connections are made in the background where others can take the call, and a try that was
//!   never sent goes to another node.
//! * A call that was sent and not answered is repeated only if it is idempotent; else it fails, and
//!   [`Error::may_have_run`] says so.
//! * A call has one deadline for all its attempts; each hop is told what is left.
//! * A registry that is down fails no call: nodes stay known.

mod adapter;
mod answer;
mod attempt;
mod body;
mod call;
mod client;
mod connect;
mod draw;
mod error;
mod grpc;
mod http;
mod layers;
mod meter;
mod node_of;
mod options;
mod peer;
mod plan;
mod pool;
mod pools;
mod route;
mod rpc;
mod settings;
mod stats;
mod version;

#[cfg(feature = "tower")]
pub use adapter::Discovered;
#[cfg(feature = "axum")]
pub use adapter::OnBehalf;
#[cfg(feature = "reqwest")]
pub use adapter::ReqwestMiddleware;
#[cfg(feature = "tonic")]
pub use adapter::{EndpointStream, TonicChannel};
pub use answer::Answer;
pub use body::{BoxError, Outgoing};
pub use client::{Client, ClientBuilder};
pub use error::{Error, ErrorKind, Result};
pub use grpc::GrpcChannel;
pub use http::HttpClient;
pub use layers::{CallService, Called, OnlyFor, OnlyForService};
pub use node_of::NodeOf;
pub use options::CallOptions;
pub use rpc::{Coding, Receiver, Sender, Stream};
pub use settings::Lookups;
pub use stats::ServiceStats;

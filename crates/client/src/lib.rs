//! Calls that survive: a service's name in, an answer out, whatever one node, one network or the
//! registry does.
//!
//! A [`Client`] reads nodes from a directory, picks one a call, and tries another where that is
//! safe. It has an HTTP face ([`Client::request`], [`Client::http`]) and a gRPC face
//! ([`Client::grpc`]).
//!
//! * A node that refuses, or is gone, or cannot be reached, fails no call while another lives:
//!   connections are made in the background where others can take the call, and a try that was
//!   never sent goes to another node.
//! * A call that was sent and not answered is repeated only if it is idempotent; else it fails, and
//!   [`Error::may_have_run`] says so.
//! * A call has one deadline for all its attempts; each hop is told what is left.
//! * A registry that is down fails no call: nodes stay known.

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
mod meter;
mod node_of;
mod options;
mod peer;
mod pool;
mod route;
mod settings;
mod version;

pub use answer::Answer;
pub use body::{BoxError, Outgoing};
pub use client::{Client, ClientBuilder};
pub use error::{Error, ErrorKind, Result};
pub use grpc::GrpcChannel;
pub use http::HttpClient;
pub use node_of::NodeOf;
pub use options::CallOptions;

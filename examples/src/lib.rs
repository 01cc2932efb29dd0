//! What the examples share: messages and code that tonic generated of `proto/hello.proto`. It stands
//! here generated, so that building the examples needs no protoc.

#[rustfmt::skip]
#[allow(clippy::all)]
#[path = "hello_pb.rs"]
pub mod hello;

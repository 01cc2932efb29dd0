//! Where people already are: tower's discovery, tonic, reqwest, axum.

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "reqwest")]
mod reqwest;
#[cfg(feature = "tonic")]
mod tonic;
#[cfg(feature = "tower")]
mod tower;

#[cfg(feature = "axum")]
pub use axum::OnBehalf;
#[cfg(feature = "reqwest")]
pub use reqwest::ReqwestMiddleware;
#[cfg(feature = "tonic")]
pub use tonic::{EndpointStream, TonicChannel};
#[cfg(feature = "tower")]
pub use tower::Discovered;

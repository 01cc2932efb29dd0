//! Answers that the client cannot read.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use zookeeper_client::Error as Told;

/// Carries out what asks the server. The client panics over answers that are shorter than they
/// must be, and whoever keeps a record would end with it, for ever.
///
/// # Cancel safety
/// As what it carries out.
pub(crate) async fn sane<T>(asked: impl Future<Output = Result<T, Told>>) -> Result<T, Told> {
    match AssertUnwindSafe(asked).catch_unwind().await {
        Ok(answer) => answer,
        Err(_) => Err(Told::UnexpectedError("an answer is too short".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_the_client_cannot_read_is_an_error() {
        let panics = async { panic!("too short") };
        let told = sane::<()>(panics).await.expect_err("an error");
        assert!(matches!(told, Told::UnexpectedError(_)), "{told}");
        assert!(matches!(sane(async { Ok(1) }).await, Ok(1)));
    }
}

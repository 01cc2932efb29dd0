//! What the program wants done before and after a service starts and stops.

use std::future::Future;
use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;
use waypost_core::{Error, ErrorKind, Result, ServiceName};

/// What a hook may fail with.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// What a hook came to.
pub(crate) type Outcome = std::result::Result<(), BoxError>;
/// One hook.
type Hook = Box<dyn FnOnce() -> BoxFuture<'static, Outcome> + Send>;

/// The hooks of one moment, in the order they were given. The lock is never waited for: it makes
/// closures that only one thread may touch at a time part of a plan that several may look at.
#[derive(Default)]
pub(crate) struct Hooks(Mutex<Vec<Hook>>);

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooks")
    }
}

impl Hooks {
    pub(crate) fn add<F, Fut>(&mut self, hook: F)
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        let hooks = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        hooks.push(Box::new(move || Box::pin(hook())));
    }

    fn all(self) -> Vec<Hook> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs them one after another, up to the first that fails.
    pub(crate) async fn run(self, moment: &'static str, service: &ServiceName) -> Result<()> {
        for hook in self.all() {
            hook()
                .await
                .map_err(|cause| failed(moment, service, cause))?;
        }
        Ok(())
    }

    /// Runs all of them, whatever fails; the last failure is the result, as in go-micro.
    pub(crate) async fn run_all(self, moment: &'static str, service: &ServiceName) -> Result<()> {
        let mut result = Ok(());
        for hook in self.all() {
            if let Err(cause) = hook().await {
                let error = failed(moment, service, cause);
                tracing::error!(%service, hook = moment, error = error.chain(), "a hook failed");
                result = Err(error);
            }
        }
        result
    }
}

/// An error with the hook's own text in its message: `with_source` takes no boxed error.
fn failed(moment: &'static str, service: &ServiceName, cause: BoxError) -> Error {
    match cause.downcast::<Error>() {
        Ok(error) => error.with_operation(moment, service),
        Err(cause) => {
            Error::new(ErrorKind::Internal, cause.to_string()).with_operation(moment, service)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn hooks(seen: &Arc<Mutex<Vec<u8>>>) -> Hooks {
        let mut hooks = Hooks::default();
        for n in 0..3_u8 {
            let seen = Arc::clone(seen);
            hooks.add(move || async move {
                seen.lock().expect("lock").push(n);
                if n == 0 {
                    Ok(())
                } else {
                    Err(format!("hook {n} failed").into())
                }
            });
        }
        hooks
    }

    #[tokio::test]
    async fn starting_ends_at_the_first_failure_and_stopping_returns_the_last() {
        let name = ServiceName::new("greeter").expect("name");
        let seen = Arc::default();
        let error = hooks(&seen)
            .run("before_start", &name)
            .await
            .expect_err("1 fails");
        assert_eq!(error.to_string(), "before_start greeter: hook 1 failed");
        assert_eq!(*seen.lock().expect("lock"), [0, 1]);
        let seen = Arc::default();
        let error = hooks(&seen)
            .run_all("after_stop", &name)
            .await
            .expect_err("2 fails");
        assert_eq!(error.to_string(), "after_stop greeter: hook 2 failed");
        assert_eq!(*seen.lock().expect("lock"), [0, 1, 2]);
    }
}

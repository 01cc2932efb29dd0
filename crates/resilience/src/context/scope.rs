//! The task-local behind [`Context::current`].

use std::fmt;
use std::pin::Pin;
use std::task::{self, Poll};

use pin_project_lite::pin_project;
use tokio::task::futures::TaskLocalFuture;

use super::Context;

tokio::task_local! {
    static CURRENT: Context;
}

pin_project! {
    /// Work on behalf of a call: what [`Context::scope`] returns.
    pub struct Scoped<F> {
        #[pin]
        work: TaskLocalFuture<Context, F>,
    }
}

impl<F: Future> Scoped<F> {
    pub(super) fn new(context: Context, work: F) -> Self {
        let work = CURRENT.scope(context, work);
        Self { work }
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
        self.project().work.poll(cx)
    }
}

impl<F> fmt::Debug for Scoped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scoped").finish_non_exhaustive()
    }
}

pub(super) fn with<T>(look: impl FnOnce(&Context) -> T) -> T {
    let empty = Context::default();
    // Cloned only where there is something: a count or two.
    let current = CURRENT.try_with(Context::clone);
    look(current.as_ref().unwrap_or(&empty))
}

pub(crate) fn in_scope<T>(context: &Context, work: impl FnOnce() -> T) -> T {
    CURRENT.sync_scope(context.clone(), work)
}

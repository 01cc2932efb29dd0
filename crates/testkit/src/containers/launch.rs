//! What a server is started with.

use waypost_core::Result;

use super::caller::Caller;
use super::image::prepare;
use super::{Papers, Recipe, Server, Setup};
use crate::Missing;

/// How one server is started, where its image's own arguments are not enough.
#[derive(Debug, Clone)]
pub struct Launch {
    pub(super) recipe: Recipe,
    pub(super) setup: Setup,
    pub(super) caller: Option<Caller>,
}

impl Launch {
    /// A server of `recipe` as its image runs it.
    #[must_use]
    pub fn new(recipe: &Recipe) -> Self {
        Self {
            recipe: *recipe,
            setup: Setup::default(),
            caller: None,
        }
    }

    /// Adds arguments; all of them stand in place of the image's.
    #[must_use]
    pub fn with_arguments(
        mut self,
        arguments: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let arguments = arguments.into_iter().map(Into::into);
        self.setup.arguments.extend(arguments);
        self
    }

    /// Puts a file into the container before the server starts, also when it was wiped. Everybody
    /// in the container may read it.
    #[must_use]
    pub fn with_file(mut self, path: impl Into<String>, text: impl Into<String>) -> Self {
        self.setup.files.push((path.into(), text.into()));
        self
    }

    /// Asks over TLS whether the server serves, with the client certificate of `papers`.
    ///
    /// # Errors
    /// `Internal` when they hold no such certificate.
    pub fn with_tls(mut self, papers: &Papers) -> Result<Self> {
        self.caller = Some(Caller::new(papers)?);
        Ok(self)
    }

    /// Starts it, and waits until it serves.
    ///
    /// # Errors
    /// As [`Server::start`].
    ///
    /// # Cancel safety
    /// As [`Server::start`].
    pub async fn start(self) -> Result<Server, Missing> {
        prepare(&self.recipe).await?;
        Server::start_as(self).await
    }
}

//! One node after the other for the attempts of one call.

use crate::balancer::Balancer;
use crate::node::{Node, Place};
use crate::options::{NoneAvailable, Options};
use crate::pick::Pick;

/// The slots of nodes that a call has tried.
type Tried = smallvec::SmallVec<[Place; 6]>;

/// The nodes for the attempts of one call, one after the other (go-micro's `Next`).
#[derive(Debug)]
pub struct Next<'a> {
    balancer: Balancer,
    options: Options<'a>,
    tried: Tried,
}

impl<'a> Next<'a> {
    pub(crate) fn new(balancer: Balancer, options: Options<'a>) -> Self {
        Self {
            balancer,
            options,
            tried: Tried::default(),
        }
    }

    /// Picks the next node: one that was not picked here before, while there is one.
    ///
    /// # Errors
    /// As [`Balancer::pick`].
    #[expect(
        clippy::should_implement_trait,
        reason = "go-micro's name; it does not end"
    )]
    pub fn next(&mut self) -> Result<Pick, NoneAvailable> {
        let picked = self.pick();
        if let Ok(pick) = &picked {
            self.tried.push(pick.node().place);
        }
        picked
    }

    /// Takes `node` for one that was picked here.
    pub fn avoid(&mut self, node: &Node) {
        self.tried.push(node.place);
    }

    fn pick(&self) -> Result<Pick, NoneAvailable> {
        if self.tried.is_empty() {
            return self.balancer.pick(&self.options);
        }
        let mut options = self.options.clone();
        options.avoid = &self.tried;
        options.may_probe = false;
        self.balancer.pick(&options)
    }

    /// Whether the node of this pick was tried before it: none else was left.
    #[must_use]
    pub fn is_repeat(&self, pick: &Pick) -> bool {
        let place = pick.node().place;
        self.tried.iter().filter(|tried| **tried == place).count() > 1
    }
}

//! Copies of the items that were not flushed.

use alloc::vec::Vec;

/// What a [`Session`](super::Session) keeps of the items that are sent:
/// [`KeepNothing`], or [`KeepUnsent`] if it was asked to.
///
/// There is nothing to implement.
pub trait Keep<T> {
    /// The connection gets this item.
    fn add(&mut self, item: &T);
    /// So many of the latest items were flushed.
    fn flushed(&mut self, items: usize);
    /// So many were flushed that were followed by so many others.
    fn flushed_before(&mut self, items: usize, later: usize);
}

/// A [`Session`](super::Session) keeps no copies: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepNothing;

/// A [`Session`](super::Session) keeps a copy of each item until it is flushed; see
/// [`Session::keep_unsent`](super::Session::keep_unsent).
#[derive(Clone, Debug)]
pub struct KeepUnsent<T> {
    /// Those of lost connections, and then those that the present one has taken and
    /// not flushed.
    items: Vec<T>,
}

impl<T> Keep<T> for KeepNothing {
    #[inline]
    fn add(&mut self, _: &T) {}

    #[inline]
    fn flushed(&mut self, _: usize) {}

    fn flushed_before(&mut self, _: usize, _: usize) {}
}

impl<T: Clone> Keep<T> for KeepUnsent<T> {
    fn add(&mut self, item: &T) {
        self.items.push(item.clone());
    }

    fn flushed(&mut self, items: usize) {
        self.items.truncate(self.items.len().saturating_sub(items));
    }

    fn flushed_before(&mut self, items: usize, later: usize) {
        let end = self.items.len().saturating_sub(later);
        self.items.drain(end.saturating_sub(items)..end);
    }
}

impl<T> KeepUnsent<T> {
    pub(super) const fn new() -> Self {
        Self { items: Vec::new() }
    }

    /// All but the latest so many.
    pub(super) fn take_all_but(&mut self, unflushed: usize) -> Vec<T> {
        let lost = self.items.len().saturating_sub(unflushed);
        self.items.drain(..lost).collect()
    }
}

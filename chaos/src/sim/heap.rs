//! What is going to happen: one heap of timed events.
//!
//! Events of the same microsecond come in an order drawn from the seed, so that over many seeds every interleaving of
//! them is tried.

use crate::seed::Stream;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A moment of the simulated machine: microseconds it has been awake since the run began.
pub type Tick = u64;

#[derive(Debug)]
struct Item<T> {
    at: Tick,
    tie: u64,
    order: u64,
    what: T,
}

impl<T> Item<T> {
    fn key(&self) -> (Tick, u64, u64) {
        (self.at, self.tie, self.order)
    }
}

impl<T> PartialEq for Item<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Item<T> {}

impl<T> PartialOrd for Item<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Item<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// The heap.
#[derive(Debug)]
pub struct Heap<T> {
    items: BinaryHeap<Reverse<Item<T>>>,
    ties: Stream,
    order: u64,
}

impl<T> Heap<T> {
    /// An empty heap whose ties are broken by these draws.
    #[must_use]
    pub fn new(ties: Stream) -> Self {
        Self { items: BinaryHeap::new(), ties, order: 0 }
    }

    /// Plans something.
    pub fn push(&mut self, at: Tick, what: T) {
        self.order += 1;
        let tie = self.ties.below(1 << 32);
        self.items.push(Reverse(Item { at, tie, order: self.order, what }));
    }

    /// When the next event is.
    #[must_use]
    pub fn next_at(&self) -> Option<Tick> {
        self.items.peek().map(|Reverse(item)| item.at)
    }

    /// Takes the next event, if it is not after `until`.
    pub fn pop_until(&mut self, until: Tick) -> Option<(Tick, T)> {
        if self.next_at()? > until {
            return None;
        }
        self.items.pop().map(|Reverse(item)| (item.at, item.what))
    }

    /// Takes the next event if it is of this very moment and passes the test.
    pub fn pop_if(&mut self, at: Tick, test: impl FnOnce(&T) -> bool) -> Option<T> {
        let Reverse(item) = self.items.peek()?;
        if item.at != at || !test(&item.what) {
            return None;
        }
        self.items.pop().map(|Reverse(item)| item.what)
    }

    /// Events that were ever planned.
    #[must_use]
    pub fn planned(&self) -> u64 {
        self.order
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    fn order(seed: u64) -> Vec<u32> {
        let mut heap = Heap::new(Seed(seed).stream("ties"));
        (0..6).for_each(|what| heap.push(5, what));
        heap.push(1, 99);
        std::iter::from_fn(|| heap.pop_until(5).map(|(_, what)| what)).collect()
    }

    #[test]
    fn time_comes_first_and_ties_are_the_seeds() {
        assert_eq!(order(1)[0], 99);
        assert_eq!(order(1), order(1));
        let orders: std::collections::BTreeSet<Vec<u32>> = (0..50).map(order).collect();
        assert!(orders.len() > 40, "{} orders of 50", orders.len());
    }

    #[test]
    fn nothing_comes_before_its_time() {
        let mut heap = Heap::new(Seed(1).stream("ties"));
        heap.push(7, ());
        assert_eq!(heap.pop_until(6), None);
        assert_eq!(heap.pop_if(6, |()| true), None);
        assert_eq!(heap.pop_if(7, |()| false), None);
        assert_eq!(heap.pop_until(7), Some((7, ())));
    }
}

//! Requests that wait, in order of arrival.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::admit::Grant;

#[derive(Debug)]
struct Waiter {
    sender: oneshot::Sender<Grant>,
    cold: bool,
}

/// First in, first out; a waiter leaves early in O(1) by its number.
#[derive(Debug, Default)]
pub(super) struct WaitQueue {
    entries: VecDeque<Option<Waiter>>,
    first: u64,
    live: usize,
}

impl WaitQueue {
    pub(super) fn len(&self) -> usize {
        self.live
    }

    pub(super) fn push(&mut self, sender: oneshot::Sender<Grant>, cold: bool) -> u64 {
        let number = self.first + self.entries.len() as u64;
        self.entries.push_back(Some(Waiter { sender, cold }));
        self.live += 1;
        number
    }

    /// The first waiter, and whether it found no replica on arrival.
    pub(super) fn pop(&mut self) -> Option<(oneshot::Sender<Grant>, bool)> {
        while let Some(entry) = self.entries.pop_front() {
            self.first += 1;
            if let Some(waiter) = entry {
                self.live -= 1;
                return Some((waiter.sender, waiter.cold));
            }
        }
        None
    }

    /// Whether the waiter was still there.
    pub(super) fn cancel(&mut self, number: u64) -> bool {
        let Some(index) = number.checked_sub(self.first).and_then(|i| usize::try_from(i).ok())
        else {
            return false;
        };
        let Some(entry) = self.entries.get_mut(index) else {
            return false;
        };
        let was_there = entry.take().is_some();
        if was_there {
            self.live -= 1;
            while matches!(self.entries.front(), Some(None)) {
                self.entries.pop_front();
                self.first += 1;
            }
        }
        was_there
    }
}

#[cfg(test)]
mod tests {
    use super::WaitQueue;
    use tokio::sync::oneshot;

    #[test]
    fn leaves_in_order_of_arrival_and_early_by_number() {
        let mut queue = WaitQueue::default();
        let numbers: Vec<u64> =
            (0..4).map(|i| queue.push(oneshot::channel().0, i % 2 == 0)).collect();
        assert!(queue.cancel(numbers[1]));
        assert!(!queue.cancel(numbers[1]), "twice");
        assert!(queue.cancel(numbers[0]));
        assert_eq!(queue.len(), 2);
        assert!(queue.pop().is_some_and(|(_, cold)| cold), "the third");
        assert!(queue.pop().is_some_and(|(_, cold)| !cold), "the fourth");
        assert!(queue.pop().is_none());
        assert!(!queue.cancel(numbers[3]), "gone");
        assert!(!queue.cancel(99), "never there");
    }
}

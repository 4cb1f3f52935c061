//! What an HTTP/2 client may cost: frames that carry no request are budgeted.

use std::time::{Duration, Instant};

const PREFACE: usize = 24;
const WINDOW: Duration = Duration::from_secs(1);
/// Settings, pings, priorities, unknown types and empty frames per window.
const CONTROL_BUDGET: u32 = 500;
/// Window updates come with data in large downloads, one for some 16 KiB.
const WINDOW_UPDATE_BUDGET: u32 = 50_000;
/// Streams the client cancels, per [`RESET_WINDOW`], before more than half of its requests count.
const RESET_BUDGET: u32 = 100;
const RESET_WINDOW: Duration = Duration::from_secs(10);
/// Continuations of one head.
const CONTINUATIONS: u32 = 8;

/// The client floods; close the connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flood;

/// Follows the frames of one connection.
#[derive(Debug)]
pub(super) struct FrameBudget {
    preface_left: usize,
    header: [u8; 9],
    have: usize,
    payload_left: usize,
    control: u32,
    window_updates: u32,
    window: Instant,
    resets: u32,
    heads: u32,
    reset_window: Instant,
    continuations: u32,
}

impl FrameBudget {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            preface_left: PREFACE,
            header: [0; 9],
            have: 0,
            payload_left: 0,
            control: 0,
            window_updates: 0,
            window: now,
            resets: 0,
            heads: 0,
            reset_window: now,
            continuations: 0,
        }
    }

    /// Takes the next bytes.
    pub(super) fn feed(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Flood> {
        if now.saturating_duration_since(self.window) >= WINDOW {
            (self.window, self.control, self.window_updates) = (now, 0, 0);
        }
        if now.saturating_duration_since(self.reset_window) >= RESET_WINDOW {
            (self.reset_window, self.resets, self.heads) = (now, 0, 0);
        }
        bytes = skip(bytes, &mut self.preface_left);
        while !bytes.is_empty() {
            bytes = skip(bytes, &mut self.payload_left);
            let taken = bytes.len().min(9 - self.have);
            self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == 9 && self.payload_left == 0 {
                self.have = 0;
                self.frame()?;
            }
        }
        Ok(())
    }

    fn frame(&mut self) -> Result<(), Flood> {
        const DATA: u8 = 0;
        const HEADERS: u8 = 1;
        const RST_STREAM: u8 = 3;
        const WINDOW_UPDATE: u8 = 8;
        const CONTINUATION: u8 = 9;
        const END_STREAM: u8 = 1;
        let [high, middle, low, kind, flags, ..] = self.header;
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        self.payload_left = length;
        match kind {
            DATA if length > 0 || flags & END_STREAM != 0 => {}
            HEADERS => (self.heads, self.continuations) = (self.heads + 1, 0),
            RST_STREAM => self.resets += 1,
            WINDOW_UPDATE => self.window_updates += 1,
            CONTINUATION => self.continuations += 1,
            _ => self.control += 1,
        }
        let too_many_resets = self.resets > RESET_BUDGET && self.resets > self.heads / 2;
        let flooding = too_many_resets
            || self.control > CONTROL_BUDGET
            || self.window_updates > WINDOW_UPDATE_BUDGET
            || self.continuations > CONTINUATIONS;
        if flooding {
            Err(Flood)
        } else {
            Ok(())
        }
    }
}

fn skip<'a>(bytes: &'a [u8], left: &mut usize) -> &'a [u8] {
    let skipped = bytes.len().min(*left);
    *left -= skipped;
    &bytes[skipped..]
}

#[cfg(test)]
mod tests {
    use super::{Flood, FrameBudget, PREFACE};
    use std::time::{Duration, Instant};

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).expect("small").to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        bytes.resize(9 + payload, 0);
        bytes
    }

    fn opened(now: Instant) -> FrameBudget {
        let mut budget = FrameBudget::new(now);
        assert_eq!(budget.feed(&[0; PREFACE], now), Ok(()));
        budget
    }

    #[test]
    fn requests_and_data_cost_nothing_however_they_are_cut() {
        let now = Instant::now();
        let mut budget = opened(now);
        let mut bytes = Vec::new();
        for _ in 0..2_000 {
            bytes.extend(frame(1, 4, 30));
            bytes.extend(frame(0, 1, 100));
        }
        for piece in bytes.chunks(7) {
            assert_eq!(budget.feed(piece, now), Ok(()));
        }
    }

    #[test]
    fn pings_settings_and_empty_data_are_budgeted_per_second() {
        for (kind, flags) in [(6, 0), (4, 0), (0, 0), (2, 0), (200, 0)] {
            let now = Instant::now();
            let mut budget = opened(now);
            let many: Vec<u8> = (0..500).flat_map(|_| frame(kind, flags, 0)).collect();
            assert_eq!(budget.feed(&many, now), Ok(()), "type {kind}");
            assert_eq!(budget.feed(&frame(kind, flags, 0), now), Err(Flood), "type {kind}");
            let mut budget = opened(now);
            assert_eq!(budget.feed(&many, now), Ok(()));
            assert_eq!(budget.feed(&many, now + Duration::from_secs(1)), Ok(()));
        }
    }

    #[test]
    fn resets_count_against_requests() {
        let now = Instant::now();
        let mut budget = opened(now);
        let cancelled: Vec<u8> =
            (0..100).flat_map(|_| [frame(1, 4, 3), frame(3, 0, 4)].concat()).collect();
        assert_eq!(budget.feed(&cancelled, now), Ok(()));
        assert_eq!(budget.feed(&cancelled, now), Err(Flood));
        let mut budget = opened(now);
        let mostly_served: Vec<u8> = (0..300)
            .flat_map(|_| [frame(1, 4, 3), frame(1, 4, 3), frame(1, 4, 3), frame(3, 0, 4)].concat())
            .collect();
        assert_eq!(budget.feed(&mostly_served, now), Ok(()));
    }

    #[test]
    fn a_head_has_few_continuations() {
        let now = Instant::now();
        let mut budget = opened(now);
        let eight: Vec<u8> = (0..8).flat_map(|_| frame(9, 0, 10)).collect();
        assert_eq!(budget.feed(&[frame(1, 0, 10), eight.clone()].concat(), now), Ok(()));
        assert_eq!(budget.feed(&[frame(1, 0, 10), eight].concat(), now), Ok(()));
        assert_eq!(budget.feed(&frame(9, 0, 10), now), Err(Flood));
    }
}

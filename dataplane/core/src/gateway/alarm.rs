//! Deadlines of requests, without a timer per request.

use std::future::{poll_fn, Future};
use std::pin::{pin, Pin};
use std::task::Poll;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::time::Sleep;

/// A timer that outlives the requests of a connection. It is moved only when it must fire earlier
/// than it is set to, or when it fired: with deadlines that only ever grow, requests come and go
/// without touching it.
#[derive(Debug, Default)]
pub(super) struct Alarm(Mutex<Option<Pin<Box<Sleep>>>>);

/// A deadline passed.
#[derive(Debug)]
pub(super) struct Elapsed;

impl Alarm {
    /// Runs `work` until the deadline, if there is one.
    pub(super) async fn limit<F: Future>(
        &self,
        deadline: Option<Instant>,
        work: F,
    ) -> Result<F::Output, Elapsed> {
        let mut work = pin!(work);
        let Some(deadline) = deadline.map(tokio::time::Instant::from_std) else {
            return Ok(work.await);
        };
        // Streams of one HTTP/2 connection run at once: whoever finds it taken makes another.
        let mut timer = self.0.lock().take();
        let result = poll_fn(|context| {
            if let Poll::Ready(output) = work.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            loop {
                match &mut timer {
                    None => timer = Some(Box::pin(tokio::time::sleep_until(deadline))),
                    Some(set) if set.deadline() > deadline => set.as_mut().reset(deadline),
                    Some(set) => match set.as_mut().poll(context) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(()) if set.deadline() == deadline => {
                            return Poll::Ready(Err(Elapsed));
                        }
                        Poll::Ready(()) => set.as_mut().reset(deadline),
                    },
                }
            }
        })
        .await;
        if result.is_ok() {
            *self.0.lock() = timer;
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::Alarm;
    use std::future::pending;
    use std::time::{Duration, Instant};

    #[tokio::test(start_paused = true)]
    async fn deadlines_fire_whatever_the_timer_was_set_to_before() {
        let alarm = Alarm::default();
        let at = |ms| Some((tokio::time::Instant::now() + Duration::from_millis(ms)).into_std());
        assert!(alarm.limit(at(1_000), tokio::time::sleep(Duration::from_millis(5))).await.is_ok());
        for (limit, work, ok) in
            [(100, 50, true), (100, 200, false), (5_000, 3_000, true), (20, 30, false)]
        {
            let began = tokio::time::Instant::now();
            let result =
                alarm.limit(at(limit), tokio::time::sleep(Duration::from_millis(work))).await;
            assert_eq!(result.is_ok(), ok, "{limit} {work}");
            let took = began.elapsed().as_millis();
            assert!(took <= u128::from(limit.min(work)) + 2, "{took} of {limit} and {work}");
        }
        assert!(alarm.limit(None, async { 1 }).await.is_ok());
        let past = Some(Instant::now());
        assert!(alarm.limit(past, pending::<()>()).await.is_err());
    }
}

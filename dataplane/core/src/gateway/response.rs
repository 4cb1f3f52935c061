//! The head of a response on its way to the client.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, Response};

use crate::revision::Activation;

/// Where a cold request's time went.
#[derive(Debug)]
pub(super) struct ColdTimes {
    pub(super) arrived: Instant,
    pub(super) granted: Instant,
    pub(super) activation: Option<Arc<Activation>>,
    /// Set when the request could be sent.
    pub(super) connected: Option<Instant>,
}

impl ColdTimes {
    /// Sets `Server-Timing`, in milliseconds.
    pub(super) fn put_on<B>(&self, response: &mut Response<B>, now: Instant) {
        let connected = self.connected.unwrap_or(self.granted);
        let mut text = String::with_capacity(160);
        let _ = write!(text, "queue;dur={}", ms(self.granted - self.arrived));
        if let Some(activation) = &self.activation {
            let timings = activation.timings;
            let how = if timings.parked { "parked" } else { "created" };
            let span = activation.answered.saturating_duration_since(activation.asked);
            let _ = write!(text, ", activate;dur={};desc=\"{how}\"", ms(span));
            let parts = [
                ("sandbox", timings.sandbox_us),
                ("start", timings.start_us),
                ("probe", timings.probe_us),
            ];
            for (name, micros) in parts {
                if micros > 0 {
                    let _ = write!(text, ", {name};dur={}", ms(Duration::from_micros(micros)));
                }
            }
        }
        let _ =
            write!(text, ", connect;dur={}", ms(connected.saturating_duration_since(self.granted)));
        let _ = write!(text, ", app;dur={}", ms(now.saturating_duration_since(connected)));
        if let Ok(value) = HeaderValue::try_from(text) {
            response.headers_mut().append(HeaderName::from_static("server-timing"), value);
        }
    }
}

fn ms(span: Duration) -> String {
    format!("{}.{:03}", span.as_millis(), span.subsec_micros() % 1_000)
}

#[cfg(test)]
mod tests {
    use super::{ms, ColdTimes};
    use crate::protocol::ActivationTimings;
    use crate::revision::Activation;
    use http::Response;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    #[test]
    fn server_timing_names_every_part() {
        assert_eq!(ms(Duration::from_micros(1_234_567)), "1234.567");
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let timings =
            ActivationTimings { start_us: 4_000, probe_us: 1_500, parked: true, sandbox_us: 0 };
        let activation = Activation { replica: "r".into(), asked: at(0), answered: at(6), timings };
        let times = ColdTimes {
            arrived: at(0),
            granted: at(7),
            activation: Some(Arc::new(activation)),
            connected: Some(at(8)),
        };
        let mut response = Response::new(());
        times.put_on(&mut response, at(10));
        assert_eq!(
            response.headers()["server-timing"],
            "queue;dur=7.000, activate;dur=6.000;desc=\"parked\", start;dur=4.000, \
             probe;dur=1.500, connect;dur=1.000, app;dur=2.000"
        );
    }
}

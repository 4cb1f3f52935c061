//! The compiled form of a rule.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::protocol;
use crate::revision::{Registry, Revision};

/// Headers to set, in order.
pub type SetHeaders = Vec<(HeaderName, HeaderValue)>;

/// A share of a path's requests.
#[derive(Debug)]
pub struct SplitRoute {
    /// Where they go.
    pub revision: Arc<Revision>,
    /// Set on the request, after those of the path.
    pub set_headers: SetHeaders,
    /// Shares up to and including this one.
    upto: u32,
}

/// A prefix, what else must match, and the shares.
#[derive(Debug)]
pub struct PathRoute {
    prefix: String,
    /// What the request says, each once and with exactly this value.
    pub headers: SetHeaders,
    /// Set on the request.
    pub set_headers: SetHeaders,
    /// Replaces the host towards the replica.
    pub rewrite_host: Option<HeaderValue>,
    splits: Vec<SplitRoute>,
}

/// What one ingress says of one host.
#[derive(Debug)]
pub struct HostRoutes {
    /// Answer 301 to https on the plain listeners.
    pub redirect: bool,
    /// Echoed to ingress probes.
    pub hash: Option<HeaderValue>,
    /// Longest prefix first, then most headers.
    paths: Vec<PathRoute>,
}

impl HostRoutes {
    pub(super) fn compile(
        ingress: &protocol::Ingress,
        rule: &protocol::Rule,
        registry: &Registry,
    ) -> Self {
        let mut paths: Vec<PathRoute> =
            rule.paths.iter().filter_map(|path| PathRoute::compile(path, registry)).collect();
        paths.sort_by_key(|path| (usize::MAX - path.prefix.len(), usize::MAX - path.headers.len()));
        Self {
            redirect: ingress.http_option == protocol::HttpOption::Redirected
                && rule.visibility == protocol::Visibility::External,
            hash: HeaderValue::from_str(&ingress.hash).ok().filter(|hash| !hash.is_empty()),
            paths,
        }
    }

    /// The first path that takes the request.
    #[must_use]
    pub fn find(&self, path: &str, headers: &HeaderMap) -> Option<&PathRoute> {
        self.paths.iter().find(|route| {
            path.starts_with(route.prefix.as_str())
                && route.headers.iter().all(|(name, value)| is_exactly(headers, name, value))
        })
    }

    /// Keys of all revisions named.
    pub(super) fn revisions(&self) -> impl Iterator<Item = &Arc<str>> {
        self.paths.iter().flat_map(|path| path.splits.iter().map(|split| split.revision.key()))
    }
}

impl PathRoute {
    /// None when no request can match: what is no header is in no request.
    fn compile(path: &protocol::Path, registry: &Registry) -> Option<Self> {
        let headers = header_pairs(&path.headers);
        if headers.len() < path.headers.len() {
            return None;
        }
        let mut upto = 0;
        let mut splits = Vec::with_capacity(path.splits.len());
        for split in path.splits.iter().filter(|split| split.percent > 0) {
            upto += split.percent.min(100);
            splits.push(SplitRoute {
                revision: registry.mention(&split.revision),
                set_headers: header_pairs(&split.append_headers),
                upto,
            });
        }
        Some(Self {
            prefix: path.prefix.clone(),
            headers,
            set_headers: header_pairs(&path.append_headers),
            rewrite_host: HeaderValue::from_str(&path.rewrite_host)
                .ok()
                .filter(|host| !host.is_empty()),
            splits,
        })
    }

    /// The share that `random` falls into; shares of 0 get nothing.
    #[must_use]
    pub fn choose(&self, random: impl FnOnce() -> u32) -> Option<&SplitRoute> {
        match self.splits.as_slice() {
            [] => None,
            [only] => Some(only),
            [.., last] => {
                let drawn = random() % last.upto;
                self.splits.iter().find(|split| drawn < split.upto)
            }
        }
    }
}

/// A header that is repeated has no one value, and does not match.
fn is_exactly(headers: &HeaderMap, name: &HeaderName, value: &HeaderValue) -> bool {
    let mut sent = headers.get_all(name).iter();
    sent.next() == Some(value) && sent.next().is_none()
}

/// Names and values that are none are left out: they cannot be sent.
fn header_pairs(headers: &std::collections::BTreeMap<String, String>) -> SetHeaders {
    headers
        .iter()
        .filter_map(|(name, value)| {
            Some((HeaderName::try_from(name.as_str()).ok()?, HeaderValue::from_str(value).ok()?))
        })
        .collect()
}

//! The golden files mean the same to Rust as to Python (`tests/unit/dataplane/test_messages_golden.py`).
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use knarr_dataplane::protocol::{FromDataplane, FromNode, ToDataplane, ToNode};
use serde_json::Value;

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/protocol")
}

fn encoded<M: serde::Serialize>(message: &M) -> Value {
    serde_json::to_value(message).unwrap()
}

/// Decodes as every direction; exactly one takes it.
fn through(body: &[u8]) -> Vec<Value> {
    [
        ToDataplane::decode(body).map(|message| encoded(&message)),
        FromDataplane::decode(body).map(|message| encoded(&message)),
        ToNode::decode(body).map(|message| encoded(&message)),
        FromNode::decode(body).map(|message| encoded(&message)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[test]
fn every_message_is_decoded_and_encoded_alike() {
    let mut types = BTreeSet::new();
    for entry in std::fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        let body = std::fs::read(&path).unwrap();
        let value: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(through(&body), std::slice::from_ref(&value), "{}", path.display());
        types.insert(value["type"].as_str().unwrap().to_owned());
    }
    assert_eq!(types.len(), 15, "{types:?}");
}

#[test]
fn unknown_fields_are_ignored_and_unknown_types_are_not() {
    let ack = br#"{"type":"ack","epoch":"e","version":1,"later":[1]}"#;
    assert!(FromDataplane::decode(ack).is_ok());
    assert!(FromDataplane::decode(br#"{"type":"other"}"#).is_err());
    assert!(FromDataplane::decode(br#"{"type":"ack","epoch":"e"}"#).is_err());
    assert!(ToDataplane::decode(ack).is_err(), "wrong direction");
}

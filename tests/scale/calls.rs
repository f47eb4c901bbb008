//! How long calls to the API server take.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};
use stub::error::{Error, Kind, Result};

use crate::api::Api;
use crate::pods::FIRST;
use crate::stop::Stop;

/// The time between two rounds of calls, and between two rounds with lists. They are to measure a load, and not to be one.
const ROUND: Duration = Duration::from_millis(500);
const LISTS: u32 = 10;

/// A kind of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Call {
    /// GET a pod.
    Get,
    /// CREATE or DELETE a `ConfigMap`.
    Write,
    /// LIST the pods of a namespace.
    ListNamespace,
    /// LIST all pods.
    ListAll,
}

impl Call {
    pub(crate) const ALL: [Self; 4] = [Self::Get, Self::Write, Self::ListNamespace, Self::ListAll];

    /// The longest time that Kubernetes promises for 99 of 100 calls, in milliseconds (its document "API call latency SLIs/SLOs").
    pub(crate) fn promise(self) -> f64 {
        match self {
            Self::Get | Self::Write => 1e3,
            Self::ListNamespace | Self::ListAll => 30e3,
        }
    }
}

/// How long calls of one kind took, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Times {
    pub(crate) count: usize,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// What the calls of a step have shown.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Calls {
    pub(crate) times: BTreeMap<Call, Times>,
    /// Why calls failed, one line for each call.
    pub(crate) failed: Vec<String>,
}

/// Calls for this long.
pub(crate) fn measure(api: &Api, time: Duration, stop: &Stop) -> Result<Calls> {
    let pods = format!("/api/v1/namespaces/{FIRST}/pods");
    let maps = format!("/api/v1/namespaces/{FIRST}/configmaps");
    let map = json!({ "metadata": { "name": "call" }, "data": { "a": "b" } });
    let pod = api.items(&format!("{pods}?limit=1"))?;
    let pod = pod.first().and_then(|pod| pod["metadata"]["name"].as_str());
    let pod = pod.ok_or_else(|| Error::new(Kind::Failed, "there is no pod to ask for"))?;
    let rounds: [(Call, Method, String, Option<&Value>); 5] = [
        (Call::Get, Method::GET, format!("{pods}/{pod}"), None),
        (Call::Write, Method::POST, maps.clone(), Some(&map)),
        (Call::Write, Method::DELETE, format!("{maps}/call"), None),
        (Call::ListNamespace, Method::GET, pods.clone(), None),
        (Call::ListAll, Method::GET, "/api/v1/pods".to_owned(), None),
    ];
    let (mut taken, mut failed) = (BTreeMap::<Call, Vec<f64>>::new(), Vec::new());
    let began = Instant::now();
    'time: for round in 0.. {
        for (call, method, path, body) in &rounds {
            let list = matches!(call, Call::ListNamespace | Call::ListAll);
            if list && round % LISTS != 0 {
                continue;
            }
            // A call to a cluster that has too much to do can take a minute.
            if round > 0 && began.elapsed() >= time {
                break 'time;
            }
            stop.pause(Duration::ZERO)?;
            let asked = Instant::now();
            match api.send(method, path, *body) {
                Ok(_) => {
                    let times = taken.entry(*call).or_default();
                    times.push(asked.elapsed().as_secs_f64() * 1e3);
                }
                Err(error) => failed.push(error.message().to_owned()),
            }
        }
        if began.elapsed() >= time {
            break;
        }
        let next = ROUND * (round + 1);
        stop.pause(next.saturating_sub(began.elapsed()))?;
    }
    let times = taken
        .into_iter()
        .filter_map(|(call, times)| Some((call, Times::of(times)?)));
    let times = times.collect();
    Ok(Calls { times, failed })
}

impl Times {
    /// Nothing if no call succeeded.
    fn of(mut times: Vec<f64>) -> Option<Self> {
        times.sort_by(f64::total_cmp);
        Some(Self {
            count: times.len(),
            p50: percentile(&times, 50)?,
            p99: percentile(&times, 99)?,
        })
    }
}

/// The smallest of sorted values that at least so many of a hundred do not exceed.
fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use support::server::{Behaviour, Server};

    use super::*;
    use crate::api::tests::played;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(percentile(&values, 50), Some(100.0));
        assert_eq!(percentile(&values, 99), Some(198.0));
        assert_eq!(percentile(&values[..1], 99), Some(1.0));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn each_kind_is_measured_and_what_fails_is_no_time() {
        let server = Server::start();
        let api = played(&server);
        let list = br#"{"items": [{"metadata": {"name": "p"}}]}"#;
        server.good("/api/v1/namespaces/hollow-nodes-0/pods", list);
        server.good("/api/v1/namespaces/hollow-nodes-0/pods/p", b"{}");
        server.good("/api/v1/namespaces/hollow-nodes-0/configmaps", b"{}");
        let busy = [Behaviour::status(429)];
        server.route("/api/v1/pods", b"", busy);
        let calls = measure(&api, Duration::ZERO, &Stop::default()).unwrap();
        let counts: Vec<_> = calls
            .times
            .iter()
            .map(|(call, times)| (*call, times.count))
            .collect();
        assert_eq!(
            counts,
            [(Call::Get, 1), (Call::Write, 1), (Call::ListNamespace, 1)]
        );
        assert_eq!(calls.failed.len(), 2, "{:?}", calls.failed);
        assert!(calls.failed[0].starts_with("DELETE "));
        assert!(calls.failed[1].starts_with("GET /api/v1/pods: 429 "));
    }

    #[test]
    fn without_pods_there_is_nothing_to_measure() {
        let server = Server::start();
        server.good(
            "/api/v1/namespaces/hollow-nodes-0/pods",
            br#"{"items": []}"#,
        );
        let error = measure(&played(&server), Duration::ZERO, &Stop::default()).unwrap_err();
        assert_eq!(error.message(), "there is no pod to ask for");
    }
}

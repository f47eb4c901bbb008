//! Follows the services and pods that ask for ports of the node.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::client;
use crate::api::{News, watch};
use crate::config::Config;
use crate::error::Result;
use crate::layout::Layout;
use crate::ports::Exposed;

/// The time between two attempts to reach the API server.
const RETRY: Duration = Duration::from_secs(5);

/// A kind of object that can ask for ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Service,
    Pod,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Service, Self::Pod];

    fn path(self) -> &'static str {
        match self {
            Self::Service => "/api/v1/services",
            Self::Pod => "/api/v1/pods",
        }
    }

    /// The selector of the objects that matter on this node.
    fn fields(self, config: &Config) -> String {
        match self {
            Self::Service => String::new(),
            Self::Pod => format!("fieldSelector=spec.nodeName%3D{}", config.node_name),
        }
    }

    fn read(self, object: &Value) -> Option<Exposed> {
        match self {
            Self::Service => Exposed::of_service(object),
            Self::Pod => Exposed::of_pod(object),
        }
    }
}

/// What is known of the objects of one kind.
#[derive(Debug, Default)]
struct Known {
    /// By their unique ids; `None` until all are known.
    objects: Option<BTreeMap<String, Exposed>>,
    /// The reason why they are not followed at the moment.
    trouble: String,
}

type Shared = Arc<Mutex<BTreeMap<Kind, Known>>>;

/// The objects, followed by threads that start when they are first needed.
pub(super) struct Objects {
    layout: Layout,
    known: Shared,
    wanted: Arc<AtomicBool>,
    running: bool,
    tell: Sender<()>,
    told: Receiver<()>,
}

impl Objects {
    pub(super) fn new(layout: &Layout) -> Self {
        let (tell, told) = channel();
        Self {
            layout: layout.clone(),
            known: Shared::default(),
            wanted: Arc::default(),
            running: false,
            tell,
            told,
        }
    }

    /// Follows the objects if the configuration says so.
    pub(super) fn follow(&mut self, config: &Config) {
        let wanted = config.publish_services.0.is_some();
        self.wanted.store(wanted, Ordering::Relaxed);
        if !wanted {
            lock(&self.known).clear();
        } else if !self.running {
            self.running = true;
            for kind in Kind::ALL {
                let (layout, config) = (self.layout.clone(), config.clone());
                let (known, wanted) = (Arc::clone(&self.known), Arc::clone(&self.wanted));
                let tell = self.tell.clone();
                thread::spawn(move || {
                    loop {
                        if wanted.load(Ordering::Relaxed) {
                            let ended = follow(kind, &layout, &config, &known, &wanted, &tell);
                            let trouble = ended.err().map(|error| error.message().to_owned());
                            lock(&known).entry(kind).or_default().trouble =
                                trouble.clone().unwrap_or_default();
                            if trouble.is_none() {
                                continue;
                            }
                        }
                        thread::sleep(RETRY);
                    }
                });
            }
        }
    }

    /// All objects that ask for ports, the oldest first; `None` as long as not all are known.
    pub(super) fn exposed(&self) -> Option<Vec<Exposed>> {
        let known = lock(&self.known);
        let mut all = Vec::new();
        for kind in Kind::ALL {
            all.extend(known.get(&kind)?.objects.as_ref()?.values().cloned());
        }
        all.sort_by(|a, b| a.order().cmp(&b.order()));
        Some(all)
    }

    /// The reason why they are not followed; empty if they are.
    pub(super) fn trouble(&self) -> String {
        let known = lock(&self.known);
        let trouble = known.values().map(|known| &known.trouble);
        trouble.max().cloned().unwrap_or_default()
    }

    /// Waits until an object has changed, or for this time.
    pub(super) fn wait(&self, time: Duration) {
        if self.told.recv_timeout(time).is_ok() {
            // Changes come in swarms.
            thread::sleep(Duration::from_millis(200));
            self.told.try_iter().for_each(drop);
        }
    }
}

fn lock(known: &Shared) -> MutexGuard<'_, BTreeMap<Kind, Known>> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Follows the objects of a kind for some minutes.
fn follow(
    kind: Kind,
    layout: &Layout,
    config: &Config,
    known: &Shared,
    wanted: &AtomicBool,
    tell: &Sender<()>,
) -> Result<()> {
    // The certificate may have been renewed.
    let client = client(layout, config)?;
    watch(&client, kind.path(), &kind.fields(config), reduce, |news| {
        // Without this, a switch that was turned off would be turned on again.
        if !wanted.load(Ordering::Relaxed) {
            return false;
        }
        if change(lock(known).entry(kind).or_default(), kind, news) {
            // The receiver lives as long as this process.
            let _ = tell.send(());
        }
        true
    })
}

/// Leaves out the parts of an object that say nothing about ports, which can be large.
fn reduce(mut object: Value) -> Value {
    let metadata = object.get_mut("metadata");
    if let Some(metadata) = metadata.and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        metadata.remove("annotations");
    }
    object
}

/// Takes news in. Gives whether they matter.
fn change(known: &mut Known, kind: Kind, news: News) -> bool {
    known.trouble.clear();
    let id = |object: &Value| {
        object["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let read = |object: &Value| Some((id(object), kind.read(object)?));
    match news {
        News::All(all) => {
            let all = Some(all.iter().filter_map(read).collect());
            let changed = known.objects != all;
            known.objects = all;
            changed
        }
        News::Gone(object) => remove(known, &id(&object)),
        News::Set(object) => match read(&object) {
            Some((id, exposed)) => known
                .objects
                .get_or_insert_default()
                .insert(id, exposed.clone())
                .is_none_or(|old| old != exposed),
            None => remove(known, &id(&object)),
        },
    }
}

fn remove(known: &mut Known, id: &str) -> bool {
    let objects = known.objects.as_mut();
    objects.is_some_and(|objects| objects.remove(id).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(uid: &str, kind: &str, port: u16) -> Value {
        json!({
            "metadata": { "uid": uid, "namespace": "default", "name": uid },
            "spec": { "type": kind, "ports": [{ "port": 80, "nodePort": port }] },
        })
    }

    #[test]
    fn services_come_change_and_go() {
        let mut known = Known::default();
        let mut news = |news| change(&mut known, Kind::Service, news);
        let plain = service("b", "ClusterIP", 0);
        let node = service("a", "NodePort", 30080);
        assert!(news(News::All(vec![node.clone(), plain.clone()])));
        assert!(!news(News::All(vec![node.clone()])));
        assert!(!news(News::Set(plain)));
        assert!(!news(News::Set(node.clone())));
        assert!(news(News::Set(service("a", "NodePort", 30081))));
        assert!(news(News::Set(service("b", "LoadBalancer", 30082))));
        // It is no longer of a type that asks for a port.
        assert!(news(News::Set(service("b", "ClusterIP", 0))));
        assert!(news(News::Gone(node.clone())));
        assert!(!news(News::Gone(node)));
        assert_eq!(known.objects.unwrap().len(), 0);
    }
}

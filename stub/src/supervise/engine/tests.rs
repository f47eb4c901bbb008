//! The services of the table, with programs that are played and a clock that is set.

use std::time::{Duration, Instant, SystemTime};

use super::*;
use crate::config::{Cni, Config};
use crate::services::Services;
use Service::{
    Etcd, KubeApiserver, KubeControllerManager, KubeProxy, KubeScheduler, Kubelet, Rootlesskit,
};

/// An engine whose programs do at once what they are told, but for those that are named.
struct Play {
    engine: Engine,
    now: Instant,
    /// Those that never say that they are ready.
    silent: Vec<Service>,
    /// Those that do not end when they are asked to.
    stubborn: Vec<Service>,
    log: Vec<String>,
}

impl Play {
    fn new() -> Self {
        let now = Instant::now();
        let config = Config::new("n".parse().unwrap(), Cni::Bridge);
        Self {
            engine: Engine::new(Spec::all(&Services::of(&config)), now),
            now,
            silent: Vec::new(),
            stubborn: Vec::new(),
            log: Vec::new(),
        }
    }

    /// Everything runs.
    fn running() -> Self {
        let mut play = Self::new();
        play.engine.start("u7s.target");
        play.go_on();
        play.log.clear();
        play
    }

    /// Until nothing is left to do now.
    fn go_on(&mut self) {
        loop {
            let actions = self.engine.step(self.now);
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.carry_out(action);
            }
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Start(service) => {
                self.log.push(format!("start {}", service.as_str()));
                self.engine.started(service, 7, SystemTime::now());
                if !self.silent.contains(&service) {
                    self.engine.ready(service, self.now);
                }
            }
            Action::Ask(service) => {
                self.log.push(format!("ask {}", service.as_str()));
                if !self.stubborn.contains(&service) {
                    self.engine.ended(service, End::Code(143), self.now);
                }
            }
            Action::Kill(service) => {
                self.log.push(format!("kill {}", service.as_str()));
                self.engine.ended(service, End::Signal(9), self.now);
            }
            Action::Say(text) => self.log.push(format!("say {text}")),
        }
    }

    fn wait(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
        self.go_on();
    }

    fn ends(&mut self, service: Service, end: End) {
        self.engine.ended(service, end, self.now);
        self.go_on();
    }

    fn said(&mut self) -> String {
        std::mem::take(&mut self.log).join("\n")
    }

    fn state(&self, service: Service) -> String {
        let name = service.unit(crate::config::Cri::Containerd);
        let units = self.engine.show();
        units.iter().find(|u| name == *u.name()).unwrap().state()
    }
}

#[test]
fn the_order_is_that_of_the_table_and_the_stop_reverses_it() {
    let mut play = Play::new();
    play.engine.start("u7s.target");
    play.go_on();
    insta::assert_snapshot!(play.said(), @r"
    start rootlesskit
    start etcd
    start ports
    start kube-apiserver
    start kube-controller-manager
    start kube-scheduler
    start kubelet
    start kube-proxy
    ");
    play.engine.end();
    play.go_on();
    insta::assert_snapshot!(play.said(), @r"
    ask kubelet
    ask kube-proxy
    ask ports
    ask kube-controller-manager
    ask kube-scheduler
    ask kube-apiserver
    ask etcd
    ask rootlesskit
    ");
    assert!(play.engine.has_ended());
    // Nothing starts any more, whoever asks for it.
    play.engine.start("u7s.target");
    play.wait(100.0);
    assert_eq!(play.said(), "");
}

#[test]
fn one_that_notifies_is_waited_for_by_those_after_it() {
    let mut play = Play::new();
    play.silent = vec![Etcd];
    play.engine.start("u7s-master-with-etcd.target");
    play.go_on();
    assert_eq!(play.said(), "start rootlesskit\nstart etcd\nstart ports");
    assert_eq!(play.state(Etcd), "activating (start)");
    assert_eq!(play.state(KubeApiserver), "activating (queued)");
    play.wait(200.0);
    play.engine.extend(Etcd, Duration::from_mins(2), play.now);
    play.wait(110.0);
    assert_eq!(play.said(), "");
    play.engine.ready(Etcd, play.now);
    play.go_on();
    assert!(play.said().starts_with("start kube-apiserver\n"));
    let etcd = play.engine.show();
    let etcd = etcd
        .iter()
        .find(|u| u.name() == "u7s-etcd.service")
        .unwrap();
    assert_eq!(etcd.start_up(), Some(310_000_000));
}

#[test]
fn one_that_is_not_ready_in_time_is_started_again() {
    let mut play = Play::new();
    play.silent = vec![Etcd];
    play.engine.start("u7s-etcd.target");
    play.go_on();
    play.said();
    play.wait(300.0);
    insta::assert_snapshot!(play.said(), @r"
    say etcd has not become ready in time; starting it again
    ask etcd
    ");
    play.wait(1.0);
    assert_eq!(play.said(), "start etcd");
}

#[test]
fn a_service_that_ends_comes_back_later_and_later() {
    let mut play = Play::running();
    let mut delays = Vec::new();
    for _ in 0..10 {
        play.ends(KubeScheduler, End::Code(2));
        assert_eq!(
            play.state(KubeScheduler).split(')').next(),
            Some("activating (auto-restart")
        );
        let before = play.now;
        play.now = play.engine.deadline().unwrap();
        delays.push(format!("{:.1}", (play.now - before).as_secs_f64()));
        play.go_on();
    }
    assert_eq!(
        delays.join(" "),
        "1.0 1.4 2.0 2.8 3.9 5.4 7.6 10.7 15.0 15.0"
    );
    assert_eq!(
        play.state(KubeScheduler),
        "active (running) after 10 restarts"
    );
    assert!(!play.said().contains("kubelet"));
    // It has recovered.
    play.wait(700.0);
    play.ends(KubeScheduler, End::Signal(9));
    assert_eq!(
        play.said(),
        "say kube-scheduler failed: ended with signal 9; starting it again in 1.0 s"
    );
}

#[test]
fn which_ends_are_clean() {
    for (service, end, clean) in [
        (KubeScheduler, End::Code(1), true),
        (Etcd, End::Code(1), false),
        (Etcd, End::Code(143), true),
        (Etcd, End::Code(0), true),
        (Etcd, End::Signal(15), true),
        (Etcd, End::Signal(9), false),
    ] {
        let mut play = Play::running();
        play.ends(service, end);
        assert_eq!(
            !play.said().contains("failed"),
            clean,
            "{service:?} {end:?}"
        );
        // It is started again all the same.
        play.wait(1.0);
        assert_eq!(play.said(), format!("start {}", service.as_str()));
    }
}

#[test]
fn the_end_of_rootlesskit_stops_the_others_and_the_targets_bring_them_back() {
    let mut play = Play::running();
    play.ends(Rootlesskit, End::Signal(9));
    insta::assert_snapshot!(play.said(), @r"
    say rootlesskit failed: ended with signal 9; starting it again in 1.0 s
    ask kubelet
    ask kube-proxy
    ask ports
    ask kube-controller-manager
    ask kube-scheduler
    ask kube-apiserver
    ask etcd
    ");
    play.wait(1.0);
    insta::assert_snapshot!(play.said(), @r"
    start rootlesskit
    start etcd
    start ports
    start kube-apiserver
    start kube-controller-manager
    start kube-scheduler
    start kubelet
    start kube-proxy
    ");
}

#[test]
fn what_no_target_upholds_stays_stopped_after_that() {
    let mut play = Play::new();
    play.engine.start("u7s-etcd.service");
    play.go_on();
    assert_eq!(play.said(), "start rootlesskit\nstart etcd\nstart ports");
    play.ends(Rootlesskit, End::Signal(9));
    play.wait(60.0);
    assert!(play.said().ends_with("\nstart rootlesskit\nstart ports"));
    assert_eq!(play.state(Etcd), "inactive");
}

#[test]
fn rootlesskit_waits_until_those_bound_to_it_have_ended() {
    let mut play = Play::running();
    play.stubborn = vec![Etcd];
    play.ends(Rootlesskit, End::Code(1));
    play.said();
    play.wait(5.0);
    assert_eq!(play.said(), "");
    play.wait(5.0);
    let said = play.said();
    let lines: Vec<_> = said.lines().take(3).collect();
    assert_eq!(
        lines,
        [
            "say etcd has not ended 10 s after it was asked to; killing it",
            "kill etcd",
            "start rootlesskit"
        ]
    );
}

#[test]
fn an_announced_end_stops_those_bound_to_it_before_the_process_is_gone() {
    let mut play = Play::running();
    play.engine.announces_end(Rootlesskit, play.now);
    play.go_on();
    assert!(play.said().ends_with("ask etcd"));
    play.wait(9.0);
    play.ends(Rootlesskit, End::Code(1));
    play.wait(1.0);
    assert!(
        play.said()
            .starts_with("start rootlesskit\nstart etcd\nstart ports")
    );
}

#[test]
fn one_that_ignores_sigterm_is_killed_after_its_time_and_only_then_the_next_is_asked() {
    let mut play = Play::running();
    play.stubborn = vec![KubeApiserver];
    play.engine.end();
    play.go_on();
    assert!(play.said().ends_with("ask kube-apiserver"));
    // To end is asked for twice.
    play.engine.end();
    play.wait(14.9);
    assert_eq!(play.said(), "");
    play.wait(0.1);
    insta::assert_snapshot!(play.said(), @r"
    say kube-apiserver has not ended 15 s after it was asked to; killing it
    kill kube-apiserver
    ask etcd
    ask rootlesskit
    ");
    assert!(play.engine.has_ended());
}

#[test]
fn a_stopped_service_stays_stopped_once_its_target_is() {
    let mut play = Play::running();
    play.engine.stop_target_only("u7s-etcd.target");
    play.engine.stop("u7s-etcd.service");
    play.wait(100.0);
    assert_eq!(play.said(), "ask etcd");
    assert_eq!(play.state(Etcd), "inactive");
    assert_eq!(play.state(KubeApiserver), "active (running)");
    play.engine.start("u7s-etcd.target");
    play.go_on();
    assert_eq!(play.said(), "start etcd");
}

#[test]
fn a_target_stops_with_its_parts_and_nothing_else() {
    let mut play = Play::running();
    play.engine.stop("u7s-node.target");
    play.wait(100.0);
    assert_eq!(play.said(), "ask kubelet\nask kube-proxy");
    play.engine.stop("u7s-master-with-etcd.target");
    play.wait(100.0);
    insta::assert_snapshot!(play.said(), @r"
    ask kube-controller-manager
    ask kube-scheduler
    ask kube-apiserver
    ask etcd
    ");
    assert_eq!(play.state(Rootlesskit), "active (running)");
}

#[test]
fn a_restart_takes_those_along_that_are_bound() {
    let mut play = Play::running();
    play.engine.restart("u7s-kube-proxy.service");
    play.go_on();
    assert_eq!(play.said(), "ask kube-proxy\nstart kube-proxy");
    play.engine.stop("u7s-node.target");
    play.go_on();
    play.said();
    play.engine.restart("u7s-rootlesskit.service");
    play.go_on();
    insta::assert_snapshot!(play.said(), @r"
    ask kube-controller-manager
    ask kube-scheduler
    ask ports
    ask kube-apiserver
    ask etcd
    ask rootlesskit
    start rootlesskit
    start etcd
    start ports
    start kube-apiserver
    start kube-controller-manager
    start kube-scheduler
    ");
    assert_eq!(play.state(KubeControllerManager), "active (running)");
    assert_eq!(play.state(Kubelet), "inactive");
    assert_eq!(play.state(KubeProxy), "inactive");
}

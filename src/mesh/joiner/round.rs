//! One peer in one family: asked to expect probes and to send its own, until both directions are known.

use std::{
    io,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::libc;
use tokio::{sync::watch, time::sleep};

use super::{Turns, evidence::find_sent, line::Line};
use crate::{
    mesh::{
        body::{Arrived, Body, Firewall, Sent, Size},
        endpoint::Shared,
        key,
        report::{State, Unroutable},
        requirement::{Family, Node, Requirement},
        sender,
        session::{Outgoing, is_final},
        verdict::{End, Verdict},
        wire,
    },
    model::Protocol,
};

/// One peer in one family.
pub(super) struct Session<'s> {
    pub(super) shared: &'s Arc<Shared>,
    pub(super) peer: &'s Node,
    pub(super) family: Family,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) turns: &'s Turns,
    /// The family in which the peer answered last.
    pub(super) answers: &'s watch::Sender<Option<Family>>,
}

/// A peer that did not answer, and what reached its services all the same.
pub(super) struct Unseen {
    pub(super) state: State,
    pub(super) verdicts: Vec<Verdict>,
}

/// What the peer told in the end.
#[derive(Default)]
pub(super) struct Told {
    pub(super) arrived: Vec<Arrived>,
    pub(super) sent: Vec<Sent>,
    pub(super) at_all: bool,
    /// The last question was not answered, though not all is known.
    pub(super) is_broken: bool,
}

/// What routes and rules say, if that is why no socket could be opened (connect(2), ip-route(8)).
fn unroutable(error: &io::Error) -> Option<Unroutable> {
    match error.raw_os_error()? {
        libc::ENETUNREACH => Some(Unroutable::Missing),
        libc::EHOSTUNREACH => Some(Unroutable::Unreachable),
        libc::EINVAL => Some(Unroutable::Blackhole),
        libc::EACCES => Some(Unroutable::Prohibited),
        _ => None,
    }
}

/// Between two tries to find a way to a peer.
const PAUSE: Duration = Duration::from_millis(250);

/// Where one family answers, the other one does so within this.
const GRACE: Duration = Duration::from_secs(3);

/// A peer that says hello and never arms is asked so often.
const UNARMED: u32 = 4;

/// How a round ended.
enum Round {
    /// Everything was told.
    Whole(Vec<Verdict>),
    /// The peer stopped answering in the middle; this much is known.
    Broken(Vec<Verdict>),
    /// It answered, and did not begin: it ended meanwhile, and may have started again.
    Unarmed(Unseen),
}

impl<'s> Session<'s> {
    /// A machine that boots may get its routes later.
    async fn open(&self, until: Instant) -> Result<(key::Nonce, Line<'s>), Unseen> {
        let given_up = async {
            tokio::select! {
                () = self.answers_over_another() => {}
                () = sleep(until.saturating_duration_since(Instant::now())) => {}
            }
        };
        tokio::pin!(given_up);
        loop {
            let error = match self.line().await {
                Ok(opened) => return Ok(opened),
                Err(error) => error,
            };
            let Some(route) = unroutable(&error) else {
                let reason = format!("no socket could be opened: {error}");
                return Err(Unseen { state: State::Silent { reason, way_out: None }, verdicts: Vec::new() });
            };
            tokio::select! {
                () = &mut given_up => {
                    return Err(Unseen { state: State::NoRoute { to: self.destination, route }, verdicts: Vec::new() });
                }
                () = sleep(PAUSE) => {}
            }
        }
    }

    async fn line(&self) -> io::Result<(key::Nonce, Line<'s>)> {
        let nonce = key::nonce()?;
        Ok((nonce, Line::open(self, nonce).await?))
    }

    /// Ends a little after the peer answered over another family: so long has this one time.
    async fn answers_over_another(&self) {
        let mut answers = self.answers.subscribe();
        // An error would mean that nobody could answer any more.
        if answers.wait_for(|family| family.is_some_and(|family| family != self.family)).await.is_err() {
            std::future::pending::<()>().await;
        }
        sleep(GRACE).await;
    }

    /// Until all is told, or the time is up. A peer that ends in the middle is pending again: it may start anew, and knows
    /// nothing of what was begun with it.
    pub(super) async fn run(&self, until: Instant) -> Result<Vec<Verdict>, Unseen> {
        let mut unarmed = 0;
        loop {
            let round = self.round(until).await?;
            let is_over = Instant::now() >= until;
            match round {
                Round::Whole(verdicts) => return Ok(verdicts),
                Round::Broken(verdicts) if is_over => return Ok(verdicts),
                Round::Unarmed(unseen) if is_over || unarmed == UNARMED => return Err(unseen),
                Round::Broken(_) => {}
                Round::Unarmed(_) => unarmed += 1,
            }
            self.answers.send_replace(None);
            self.shared.needed_by(self.shared.id_of(self.peer), false);
            sleep(PAUSE).await;
        }
    }

    async fn round(&self, until: Instant) -> Result<Round, Unseen> {
        let (nonce, line) = self.open(until).await?;
        let Some(mut cookie) = self.hello(&line, until).await else { return Err(self.unseen(&line).await) };
        let answered = Instant::now();
        // Never closed, so there is always a turn.
        let _turn = self.turns.probing.acquire().await;
        if answered.elapsed() > Duration::from_secs(10) {
            // A cookie is good for half a minute.
            let latest = until.max(Instant::now() + Duration::from_secs(1));
            let Some(again) = self.hello(&line, latest).await else { return Err(self.unseen(&line).await) };
            cookie = again;
        }
        self.shared.expect(nonce, self.peer, self.family);
        let joiner = self.shared.identity.this.clone();
        let arm = Body::Arm { cookie, joiner, listening: self.shared.listening(self.family) };
        // It is pending until it is armed. A peer that started again since it said hello does not know the cookie.
        let asked = Instant::now();
        let latest = until.clamp(asked + sender::VERDICT, asked + Duration::from_secs(5));
        let armed = line.ask(&arm, wire::CONTROL, latest).await;
        let Some(Body::Armed { listening, firewall, needs_you }) = armed else {
            self.shared.ledger.close(&nonce);
            return Ok(Round::Unarmed(self.unseen(&line).await));
        };
        self.answers.send_replace(Some(self.family));
        self.shared.needed_by(line.envelope.to, needs_you);
        let targets = self.shared.targets(self.peer, self.family, &listening);
        let outgoing = self.shared.outgoing(line.envelope.clone(), (self.source, self.destination), targets);
        let outgoing = Arc::new(outgoing);
        let mut told = self.probe_both_ways(&line, &outgoing, cookie).await;
        let is_complete = outgoing.is_complete() && self.all_came(&line, &told);
        let looked = if is_complete { Some(firewall.clone()) } else { self.firewall_now(&line, &arm).await };
        // What one process was told of, and another one did not see, was seen by nobody.
        told.is_broken &= looked.is_none();
        let verdicts = self.verdicts(&outgoing, &told, &listening, &looked.unwrap_or(firewall), &nonce);
        self.shared.ledger.close(&nonce);
        if told.is_broken {
            return Ok(Round::Broken(verdicts));
        }
        // Should it be lost, the peer waits for a while for nothing.
        for _ in 0..2 {
            line.tell(&Body::Done { cookie }).await;
        }
        Ok(Round::Whole(verdicts))
    }

    async fn hello(&self, line: &Line<'_>, until: Instant) -> Option<key::Nonce> {
        tokio::select! {
            answer = line.ask(&Body::Hello, wire::HELLO, until) => match answer {
                Some(Body::Challenge { cookie }) => Some(cookie),
                _ => None,
            },
            () = self.answers_over_another() => None,
        }
    }

    /// Sends, and asks what arrived, until all did or the time is up.
    async fn probe_both_ways(&self, line: &Line<'_>, outgoing: &Arc<Outgoing>, cookie: key::Nonce) -> Told {
        let start = Instant::now();
        // The last question may still be answered a little after the verdict's time.
        let end = || start + sender::VERDICT + outgoing.allowed();
        let sending = tokio::spawn(sender::send(Arc::clone(outgoing)));
        let mut told = Told::default();
        let mut pause = Duration::from_millis(5);
        while Instant::now() < end() {
            sleep(pause.min(end().saturating_duration_since(Instant::now()))).await;
            let translated = self.shared.translated(line.envelope.to);
            let ask = Body::Ask { cookie, arrived: self.arrived(line), late: outgoing.late(), translated };
            // Where an end did not get to run, its answer is waited for, since it tells how much it missed.
            let grace = Duration::from_millis(if outgoing.allowed().is_zero() { 200 } else { 1_000 });
            let latest = (Instant::now() + Duration::from_millis(400)).max(end()).min(end() + grace);
            if let Some(Body::Tell { arrived, sent, needs_you, late }) = line.ask(&ask, wire::CONTROL, latest).await {
                outgoing.confirm(&arrived);
                outgoing.allowance.heard(late);
                self.shared.needed_by(line.envelope.to, needs_you);
                told = Told { arrived, sent, at_all: true, is_broken: false };
            } else {
                told.is_broken = true;
            }
            if outgoing.is_complete() && self.all_came(line, &told) {
                break;
            }
            pause = (pause * 2).min(Duration::from_millis(160));
        }
        sending.abort();
        told
    }

    fn arrived(&self, line: &Line<'_>) -> Vec<Arrived> {
        self.shared.ledger.arrived(&line.envelope.session, self.shared.eyes().of(self.family))
    }

    /// Rules may have come since the peer looked, and since this node did.
    async fn firewall_now(&self, line: &Line<'_>, arm: &Body) -> Option<Firewall> {
        self.shared.look_at_firewall().await;
        // Being asked makes the peer look; what it saw it tells when it is asked again.
        let mut found = None;
        for pause in [0, 60] {
            sleep(Duration::from_millis(pause)).await;
            if let Some(Body::Armed { firewall, .. }) =
                line.ask(arm, wire::CONTROL, Instant::now() + Duration::from_millis(200)).await
            {
                found = Some(firewall);
            }
        }
        found
    }

    /// Whether all that the peer has to prove has been proved.
    fn all_came(&self, line: &Line<'_>, told: &Told) -> bool {
        let arrived = self.arrived(line);
        self.back().iter().all(|requirement| match requirement.protocol {
            Protocol::Udp => {
                let of = |one: &&Arrived| (one.protocol, one.port) == (Protocol::Udp, requirement.port);
                arrived.iter().filter(of).all(|one| one.socket != 0)
            }
            Protocol::Tcp => {
                let sent = find_sent(&told.sent, *requirement, Size::Small);
                let listening = self.shared.listening(self.family);
                let how = listening.iter().find(|one| (one.protocol, one.port) == (Protocol::Tcp, requirement.port));
                sent.is_some_and(|sent| is_final(sent.ending, how.map(|one| one.how)))
            }
        })
    }

    /// What the peer must reach on this node.
    pub(super) fn back(&self) -> Vec<Requirement> {
        let needed = self.shared.identity.rules.between(self.peer, &self.shared.identity.this);
        needed.into_iter().filter(|requirement| requirement.family == self.family).collect()
    }

    pub(super) fn ends(&self) -> (End, End) {
        let end = |node: &Node, address| End { name: node.name.clone(), address };
        (end(&self.shared.identity.this, self.source), end(self.peer, self.destination))
    }
}

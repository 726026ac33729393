//! Where artifacts come from.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use crate::{
    config::{Bundle, Site},
    fetch::{self, Answering, NoAnswer, Prober, Problem, trusted_digest},
    host::{
        detached,
        files::{self, FileError},
        look,
    },
    model::{Artifact, Component, DigestOrigin, layout},
    preflight::{
        Subject,
        check::{Again, Check, ERROR, Judgement, Look, Looking, Unclear},
    },
};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "sources",
    tests: "a source of every artifact answers or the bundle has it, or the artifact is in the store or among the downloads already",
    weight: ERROR,
    remedy: "open the way to the source, or set another one in [sources]",
    deadline: Duration::from_millis(1_700),
    may_become_true: true,
    look: Look::Async(answering),
}];

/// What is left of the deadline for saying what was seen.
const TO_ANSWER: Duration = Duration::from_millis(200);
fn answering(subject: Arc<Subject>, until: Instant) -> Looking {
    Box::pin(async move {
        let looker = Arc::clone(&subject);
        let missing = detached::run("sources", move || missing(&looker)).await??;
        if missing.is_empty() {
            return Ok(Judgement::pass("nothing has to be fetched"));
        }
        if let Some(bundle) = subject.settings.sources.bundle.clone() {
            let looker = Arc::clone(&subject);
            return Ok(detached::run("sources", move || in_bundle(&looker, &bundle, &missing)).await?);
        }
        let prober = Prober::new(&subject.settings.sources);
        let prober = prober.map_err(|error| Unclear(error.to_string()))?;
        let left = until.saturating_duration_since(Instant::now()).saturating_sub(TO_ANSWER);
        let asked = missing.into_iter().map(async |(component, sites)| {
            let ask = sites.iter().map(|site| prober.ask(site, left));
            (component, join_all(ask).await)
        });
        Ok(judge(&join_all(asked).await))
    })
}

/// The artifacts that are neither in the store nor among the downloads, and their sources.
fn missing(subject: &Subject) -> Result<Vec<(Component, Vec<Site>)>, FileError> {
    let mut missing = Vec::new();
    for component in Component::ALL {
        let sites = subject.settings.sites(component, subject.identity.architecture);
        if !sites.is_empty() && !is_present(subject, component)? {
            missing.push((component, sites));
        }
    }
    Ok(missing)
}

fn is_present(subject: &Subject, component: Component) -> Result<bool, FileError> {
    let architecture = subject.identity.architecture;
    let Some(version) = subject.settings.version(component).cloned() else { return Ok(true) };
    let recorded = || trusted_digest(&subject.places.state, component, &version, architecture);
    // A record that cannot be read is for the run to refuse.
    let recorded = || recorded().ok().flatten().map(|digest| (digest, DigestOrigin::Sidecar));
    let Some((digest, origin)) = subject.settings.pinned(component, architecture).or_else(recorded) else {
        // Its digest is published beside it, and known once it is fetched.
        let name = format!("-{component}-{version}");
        let stored = files::names(&subject.places.home.join("store"))?;
        return Ok(stored.iter().any(|entry| !entry.starts_with('.') && entry.ends_with(&name)));
    };
    let artifact = Artifact { component, version, architecture, digest, origin };
    let stored = layout::store_entry(&subject.places.home, &artifact.store_name());
    Ok(look::exists(&stored) || look::exists(&subject.places.cache.join(digest.to_string())))
}

/// Whether the bundle says that it has all of this. All of it is verified when it is used.
fn in_bundle(subject: &Subject, bundle: &Bundle, missing: &[(Component, Vec<Site>)]) -> Judgement {
    let manifest = match fetch::peek(bundle) {
        Ok(manifest) => manifest,
        Err(error) => {
            return Judgement::failure(format!("the bundle {}: {error}", bundle.path.display())).remedy(error.remedy());
        }
    };
    let architecture = subject.identity.architecture;
    let has = |component: &Component| {
        let version = subject.settings.version(*component);
        manifest.artifacts.iter().any(|record| {
            record.component == *component && record.architecture == architecture && Some(&record.version) == version
        })
    };
    let (held, lacking): (Vec<Component>, Vec<Component>) = missing.iter().map(|(component, _)| *component).partition(has);
    let list = |components: &[Component]| components.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if lacking.is_empty() {
        return Judgement::pass(format!("the bundle {} has {}", bundle.path.display(), list(&held)));
    }
    let text = format!("the bundle {} has no {} in the version that is wanted", bundle.path.display(), list(&lacking));
    Judgement::failure(text).remedy("make a bundle from this configuration with hostlet bundle create")
}

/// One source of each component that answers is enough; the others are told.
fn judge(asked: &[(Component, Vec<Result<Answering, NoAnswer>>)]) -> Judgement {
    let (mut failed, mut pages, mut answering, mut told, mut remedies) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (component, answers) in asked {
        let errors = answers.iter().filter_map(|answer| answer.as_ref().err());
        if answers.iter().any(|answer| matches!(answer, Ok(Answering { is_html: false }))) {
            let silent: Vec<_> = errors
                .filter(|no_answer| no_answer.is_the_sources())
                .map(|no_answer| format!("\n{component} also comes from {no_answer}"))
                .collect();
            answering.push(component.to_string());
            told.extend(silent);
        } else if answers.iter().any(Result::is_ok) {
            pages.push(format!("{component}: its source sends an HTML page"));
        } else {
            for no_answer in errors {
                failed.push(format!("{component}: {no_answer}"));
                let remedy = no_answer.remedy();
                if !remedies.contains(&remedy) {
                    remedies.push(remedy);
                }
            }
        }
    }
    let mut errors = asked.iter().flat_map(|(_, answers)| answers).filter_map(|answer| answer.as_ref().err());
    if !failed.is_empty() && errors.clone().any(|error| matches!(error.problem, Problem::Stalled(_))) {
        remedies.push(
            "Where the network is that slow, waive sources with that reason: a download waits longer (sources.stall-timeout)."
                .to_owned(),
        );
    }
    match (failed.is_empty(), pages.is_empty()) {
        (false, _) => {
            let lasting = errors.all(|error| !error.is_transient());
            let judgement = Judgement::failure([failed, pages].concat().join("\n")).remedy(remedies.join("\n"));
            judgement.again(if lasting { Again::No } else { Again::IfItBlocks })
        }
        (true, false) => Judgement::warning(pages.join("\n"))
            .remedy("open the source in a browser: a login page or a proxy's notice stands where the file should be"),
        (true, true) => Judgement::pass(format!("{} answer{}", answering.join(", "), told.concat())),
    }
}

//! Back to the previous committed generation, with what is on the disk alone: nothing is fetched, nothing rendered anew but
//! credentials, and no preflight stands in the way back. The health gate decides, as always.

use super::{Context, Failure, Installed, Prepared, as_root, remember};
use crate::{
    config::{ConfigError, Configuration, Settings},
    facts,
    fetch::Fetched,
    generation::{self, Copies, Damage, committed, manifest::Manifest},
    model::{Artifact, layout},
    output::Event,
    plan::{self, NoCredential, Wanted},
};

/// There is no going back.
#[derive(Debug, thiserror::Error)]
pub enum NoWayBack {
    /// No earlier generation was ever committed.
    #[error("there is no previous generation to go back to; `hostlet status` shows what is installed")]
    NoPrevious,
    /// The previous generation is not what it was.
    #[error(
        "generation {number} is damaged, so there is no going back to it; nothing was changed:{}\ninstall its version anew \
         instead: hostlet upgrade VERSION --allow-downgrade",
        listed(damage)
    )]
    Damaged {
        /// Which.
        number: u64,
        /// What of it, and how.
        damage: Damage,
    },
    /// A credential is missing.
    #[error("going back needs a credential: {0}; nothing was changed")]
    Credential(#[from] NoCredential),
}

fn listed(damage: &Damage) -> String {
    let lines: Vec<String> = damage.iter().map(|(path, difference)| format!("  {}: {difference}", path.display())).collect();
    format!("\n{}", lines.join("\n"))
}

/// Goes back to the previous committed generation, and remembers its versions, so that the next installation stays there.
pub async fn rollback(configuration: &Configuration, context: impl FnOnce(Settings) -> Context) -> Result<Installed, Failure> {
    as_root()?;
    // A kubelet that is left may run without what the configuration has by now.
    let context = context(configuration.settings_to_leave()?);
    let previous = committed::read(&context.state)?.previous.ok_or(NoWayBack::NoPrevious)?;
    let (manifest, copies) = whole(&context, previous)?;
    let (settings, drop_in, misfit) = remember::return_to(configuration, &manifest.contents)?;
    let context = Context { settings, ..context };

    let facts = facts::host(&context.settings)?.with_mount_unit_of(Some(&manifest));
    let facts = facts.with_foreign(facts::foreign(Some(&manifest), false)?);
    let identity = plan::identity(&context.settings, &facts.node)?;
    let artifacts: Vec<Artifact> = manifest.contents.artifacts.iter().map(Artifact::from).collect();
    let now = plan::wanted(&context.settings, &facts, &identity, &artifacts)?;
    let wanted = plan::earlier(&manifest, copies, &facts, &now);
    let current = generation::current(&context.opt)?;
    let footprint = plan::footprint(&wanted, current.as_ref());
    let observed = facts::observe(footprint, current, context.opt.clone()).await?;
    let wanted = wanted.settle_credentials(&now, &observed).map_err(NoWayBack::from)?;
    let plan = plan::compare_back(&wanted, &observed, previous);
    let mut prepared = Prepared { identity, wanted, observed, plan };
    drop_in.plan(&mut prepared)?;
    let installed = super::change(&context, "rollback", &prepared, Fetched::already_kept(Vec::new())).await?;
    match misfit {
        Some(misfit) => tell_misfit(&context, &manifest, &misfit),
        None => tell_departure(&context, &manifest, &now),
    }
    Ok(installed)
}

/// The previous generation, when every file of it is what it was.
fn whole(context: &Context, number: u64) -> Result<(Manifest, Copies), Failure> {
    let damaged = |damage| Failure::from(NoWayBack::Damaged { number, damage });
    let Some(manifest) = generation::manifest(&context.opt, number)? else {
        let path = layout::generation(&context.opt, number).join("manifest.json");
        return Err(damaged(vec![(path, "missing, or not a manifest".to_owned())]));
    };
    let mut damage = generation::inspect(&context.opt, &manifest)?.damage;
    match generation::host_files(&context.opt, &manifest)? {
        Ok(copies) if damage.is_empty() => Ok((manifest, copies)),
        Ok(_) => Err(damaged(damage)),
        Err(more) => {
            damage.extend(more);
            Err(damaged(damage))
        }
    }
}

/// What is in force is the generation's own configuration; the one that is written down is refused until it fits.
fn tell_misfit(context: &Context, manifest: &Manifest, misfit: &ConfigError) {
    let said: Vec<&str> = misfit.problems.iter().map(|problem| problem.message.as_str()).collect();
    let text = format!(
        "generation {} runs with its own configuration, which is in force; the one in {} does not fit its kubelet, and `hostlet \
         install` refuses it: {}\ntake that out, or go to a kubelet that has it: hostlet upgrade VERSION",
        manifest.number,
        layout::CONFIGURATION,
        said.join("; ")
    );
    context.events.emit(Event::Warning { text });
}

/// The versions are remembered; whatever else the configuration says is the user's, and the next installation goes by it.
fn tell_departure(context: &Context, manifest: &Manifest, now: &Wanted) {
    let mut departures: Vec<String> = Vec::new();
    for record in &manifest.contents.artifacts {
        let said = context.settings.version(record.component);
        if said != Some(&record.version) {
            let said = said.map_or_else(|| "none".to_owned(), ToString::to_string);
            departures.push(format!("{} {said} instead of {}", record.component, record.version));
        }
    }
    departures.extend(plan::departure(&manifest.contents, &now.contents));
    if !departures.is_empty() {
        let text = format!(
            "the configuration wants something else than generation {}, and the next `hostlet install` goes by it: {}",
            manifest.number,
            departures.join(", ")
        );
        context.events.emit(Event::Warning { text });
    }
}

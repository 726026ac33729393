//! After a run was committed: nothing that is not needed stays. What cannot be removed is a warning; the run succeeded.

use std::path::Path;

use super::Context;
use crate::{
    fetch,
    generation::{self, Collected, Committed},
    output::Event,
};

pub(super) async fn garbage(context: &Context, committed: Committed) {
    let (opt, cache) = (context.opt.clone(), context.cache.clone());
    let warn = |problem: String| {
        context.events.emit(Event::Warning { text: format!("old versions were not removed altogether: {problem}") });
    };
    match tokio::task::spawn_blocking(move || collect(&opt, &cache, committed)).await {
        Ok(collected) => {
            collected.problems.into_iter().for_each(warn);
            for path in collected.removed {
                context.events.emit(Event::Note { text: format!("removed {}: no longer needed", path.display()) });
            }
        }
        Err(error) => warn(error.to_string()),
    }
}

fn collect(opt: &Path, cache: &Path, committed: Committed) -> Collected {
    let mut collected = generation::collect(opt, committed);
    if let Some(wanted) = &collected.wanted
        && let Err(error) = fetch::sweep(cache, wanted)
    {
        collected.problems.push(error.to_string());
    }
    collected
}

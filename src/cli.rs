//! Commands and flags.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    model::{Architecture, Digest, MinisignKey, Version},
    plan::AllowedSteps,
};

/// Installs the kubelet and flannel natively on this host, and refuses to until the host is fit.
#[derive(Debug, Parser)]
#[command(name = "hostlet", version, long_version = crate::version::long(), propagate_version = true, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done or nothing to do; 1 differences found (--exit-code); 2 usage or configuration; \
    3 preflight refused; 4 fetch or verification failed; 5 activation failed, previous state restored; 6 restoring failed \
    too, a person is needed; 7 another run holds the lock; 70 a bug.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Flags of all commands.
    #[command(flatten)]
    pub global: Global,
}

/// Flags of all commands.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The configuration; drop-ins are read from the directory of that name with .d (hostlet.d/*.toml)
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/hostlet/hostlet.toml")]
    pub config: PathBuf,
    /// Sets one key of the configuration: kubelet.version=1.36.4
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value_t = OutputFormat::Text)]
    pub output: OutputFormat,
    /// Says more
    #[arg(long, short, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Says only what went wrong
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people
    Text,
    /// One JSON object a line, the result last
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Checks whether the host is fit; changes nothing
    Preflight {
        /// Prints every check with its severity and remedy, and checks nothing
        #[arg(long)]
        list: bool,
        /// With --list: as the documentation page
        #[arg(long, hide = true, requires = "list")]
        markdown: bool,
        /// Prints who must reach whom on which port, by roles and flannel's backend, and checks nothing
        #[arg(long, conflicts_with = "list")]
        show_matrix: bool,
        /// Also draws what was found of every peer as a table
        #[arg(long, conflicts_with_all = ["list", "show_matrix"])]
        report: bool,
        /// As before `install --adopt`, which takes over a kubelet that a package or a container brought
        #[arg(long)]
        adopt: bool,
        /// As before `install --bundle`.
        #[command(flatten)]
        from: FromBundle,
        /// Looks again for so long at what blocks and may become true by itself while a machine boots: 90s, 5m
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        wait: Option<Duration>,
    },
    /// Answers other nodes' probes until it is stopped; changes nothing
    Respond {
        /// Ends once nothing was to be answered for so long: 1m (systemd starts it again when somebody asks)
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        idle: Option<Duration>,
    },
    /// Shows what install would change, file by file and unit by unit
    Plan {
        /// Exits with 1 when something would change
        #[arg(long)]
        exit_code: bool,
        /// As for `install --adopt`, which takes over a kubelet that a package or a container brought
        #[arg(long)]
        adopt: bool,
        /// As for `install --bundle`.
        #[command(flatten)]
        from: FromBundle,
    },
    /// Brings the host to what the configuration says; nothing to do means nothing touched
    Install {
        /// Fetches and lays everything anew
        #[arg(long)]
        reinstall: bool,
        /// Only fetches and verifies, for an image: a first boot from it needs no network. Works in a chroot, without systemd
        #[arg(long, conflicts_with_all = ["reinstall", "adopt", "wait", "allow_downgrade", "allow_minor_skip"])]
        stage_only: bool,
        /// Takes over a kubelet that a package or a container brought: its identity, its place
        #[arg(long)]
        adopt: bool,
        /// Where everything comes from.
        #[command(flatten)]
        from: FromBundle,
        /// Looks again for so long at what blocks and may become true by itself while a machine boots: 90s, 5m
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        wait: Option<Duration>,
        /// Does not wait for a Node that is Ready
        #[arg(long)]
        no_wait: bool,
        /// Which steps between versions are allowed.
        #[command(flatten)]
        steps: Steps,
    },
    /// Installs another version of the kubelet and remembers it; back by itself when that is not healthy
    Upgrade {
        /// The version, such as 1.36.4
        #[arg(id = "kubelet-version", value_name = "VERSION")]
        version: Version,
        /// The SHA-256 of the file, where the configuration pins another version's
        #[arg(long, value_name = "SHA256")]
        digest: Option<Digest>,
        /// Where everything comes from.
        #[command(flatten)]
        from: FromBundle,
        /// Looks again for so long at what blocks and may become true by itself: 90s, 5m
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        wait: Option<Duration>,
        /// Does not wait for a Node that is Ready
        #[arg(long)]
        no_wait: bool,
        /// Which steps between versions are allowed.
        #[command(flatten)]
        steps: Steps,
    },
    /// Goes back to the previous generation, offline, and remembers its versions
    Rollback,
    /// Shows what is installed, whether it is healthy, and how the host differs from it
    Status {
        /// Exits with 1 when the host differs, or something is not healthy
        #[arg(long)]
        exit_code: bool,
    },
    /// Takes back what was installed, without the configuration; never deletes across a mount
    Uninstall {
        /// Also removes configuration, downloads, and files of hostlet's that were edited
        #[arg(long)]
        purge: bool,
    },
    /// Undoes a run that was ended in the middle; every run that changes the host does so first
    Recover {
        /// Run by hostlet-recover.service, before the kubelet: units are left to systemd, which starts them afterwards
        #[arg(long)]
        at_boot: bool,
    },
    /// Installs for real on a throwaway copy of this machine with its own systemd; the machine stays as it was
    Rehearse {
        /// Further arguments of the install that is rehearsed, after `--`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Everything that a configuration needs in one file, for hosts without internet
    #[command(subcommand)]
    Bundle(BundleCommand),
    /// The configuration, explained
    #[command(subcommand)]
    Config(ConfigCommand),
    /// A stand-in for a component, in a rehearsal only
    #[command(hide = true, disable_help_flag = true)]
    StandIn {
        /// Name and arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// Steps between versions of the kubelet that are made only when asked for.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Steps {
    /// Allows an older kubelet than the installed one
    #[arg(long)]
    pub allow_downgrade: bool,
    /// Allows more than one minor version at a time
    #[arg(long)]
    pub allow_minor_skip: bool,
}

impl From<Steps> for AllowedSteps {
    fn from(steps: Steps) -> Self {
        Self { downgrade: steps.allow_downgrade, minor_skip: steps.allow_minor_skip }
    }
}

/// Where everything comes from.
#[derive(Debug, Clone, Default, Args)]
pub struct FromBundle {
    /// Takes everything from a bundle that `bundle create` made, and nothing from the network
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,
}

/// `hostlet bundle`
#[derive(Debug, Clone, Subcommand)]
pub enum BundleCommand {
    /// Fetches and verifies everything that the configuration needs, and writes it into one file
    Create {
        /// The file; - for standard output
        #[arg(long = "to", short = 'o', value_name = "FILE")]
        to: PathBuf,
        /// For which processors; by default this machine's
        #[arg(long, value_name = "ARCH", value_delimiter = ',')]
        arch: Vec<Architecture>,
        /// Where downloads are kept; by default /var/cache/hostlet for root, and nowhere for others
        #[arg(long, value_name = "DIRECTORY")]
        cache: Option<PathBuf>,
    },
    /// Reads all of a bundle and says whether it is whole
    Verify {
        /// The bundle; - for standard input
        file: PathBuf,
        /// The digest of its manifest, as `bundle create` printed it
        #[arg(long, value_name = "SHA256")]
        digest: Option<Digest>,
        /// The minisign key that signed it; the signature lies beside it as FILE.minisig
        #[arg(long, value_name = "KEY")]
        minisign_key: Option<MinisignKey>,
    },
    /// Shows what is in a bundle
    List {
        /// The bundle; - for standard input
        file: PathBuf,
    },
}

/// `hostlet config`
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigCommand {
    /// Reads the configuration and says what is wrong with it
    Check,
    /// Prints a configuration with every key explained
    Example,
    /// Prints the JSON schema of the configuration
    Schema,
    /// Prints what flannel needs in the cluster, for kubectl apply: a ServiceAccount and what it may do
    FlannelRbac,
    /// Writes the configuration, and the token beside it, from what kubeadm users have
    From {
        /// A `kubeadm join` command in quotes, a file with one or with a JoinConfiguration, or - for standard input
        #[arg(value_name = "COMMAND|FILE")]
        source: String,
        /// Replaces a configuration and a token that are there
        #[arg(long)]
        force: bool,
        /// Prints the configuration, without the token, and writes nothing
        #[arg(long, conflicts_with = "force")]
        print: bool,
    },
}

/// As in the configuration: 90s, 5m, 1h. A bare number could be anything.
fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().ok().and_then(|signed| Duration::try_from(signed).ok());
    parsed.ok_or_else(|| "a duration is written as 90s, 5m or 1h".to_owned())
}

impl Command {
    /// The bundle that everything shall come from.
    #[must_use]
    pub fn bundle(&self) -> Option<&Path> {
        match self {
            Self::Preflight { from, .. }
            | Self::Plan { from, .. }
            | Self::Install { from, .. }
            | Self::Upgrade { from, .. } => from.bundle.as_deref(),
            _ => None,
        }
    }

    /// The command's name, as the journal has it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Preflight { .. } => "preflight",
            Self::Respond { .. } => "respond",
            Self::Plan { .. } => "plan",
            Self::Install { .. } => "install",
            Self::Upgrade { .. } => "upgrade",
            Self::Rollback => "rollback",
            Self::Status { .. } => "status",
            Self::Uninstall { .. } => "uninstall",
            Self::Recover { .. } => "recover",
            Self::Rehearse { .. } => "rehearse",
            Self::Bundle(_) => "bundle",
            Self::Config(_) => "config",
            Self::StandIn { .. } => "stand-in",
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_has_no_flag_twice() {
        Cli::command().debug_assert();
        let cli = Cli::parse_from(["hostlet", "upgrade", "v1.36.4", "--allow-downgrade"]);
        assert!(matches!(cli.command, Command::Upgrade { version, .. } if version == Version::new(1, 36, 4)));
    }

    #[test]
    fn waiting_is_given_as_a_duration_with_its_unit() {
        for (text, seconds) in [("90s", 90), ("5m", 300), ("1h 30m", 5400), ("0s", 0)] {
            let cli = Cli::parse_from(["hostlet", "install", "--wait", text]);
            let Command::Install { wait, .. } = cli.command else { panic!("{text}") };
            assert_eq!(wait, Some(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["5", "-5m", "soon", ""] {
            assert!(Cli::try_parse_from(["hostlet", "preflight", "--wait", bad]).is_err(), "{bad}");
        }
    }
}

//! `byway store init|migrate`: a cluster in etcd, set up or moved from an inventory to etcd or back.

mod migrate;

use std::process::ExitCode;

use byway_agent::store::{Records, Shared};
use byway_fabric::config::Config;
use byway_fabric::lease::{self, ClusterRecord, Lengths, Registry};
use clap::{Args, Subcommand, ValueEnum};
use ipnet::IpNet;
use serde_json::json;

use crate::complaint::Advised;
use crate::{settings, show};

/// `byway store …`
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Say in etcd which prefixes the cluster has; run again, it widens them while the cluster runs
    Init(InitArgs),
    /// Write the hosts of the inventory into etcd, or those in etcd into an inventory; hosts go over one by one
    Migrate(MigrateArgs),
}

/// `byway store init`
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// What all subnets of containers lie in, of either family, as 172.40.0.0/13; all of them, also those that are there
    #[arg(long = "prefix", value_name = "PREFIX", required = true, value_delimiter = ',')]
    prefixes: Vec<IpNet>,
    /// How long the subnet of a host is, in bits, of IPv4 [default: 24, or as it is]
    #[arg(long, value_name = "BITS")]
    ipv4_length: Option<u8>,
    /// How long the subnet of a host is, in bits, of IPv6 [default: 64, or as it is]
    #[arg(long, value_name = "BITS")]
    ipv6_length: Option<u8>,
}

/// `byway store migrate`
#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// Where the hosts go
    #[arg(long, value_name = "STORE")]
    to: To,
    /// For etcd: what all subnets lie in, where the inventory does not say
    #[arg(long = "prefix", value_name = "PREFIX", value_delimiter = ',')]
    prefixes: Vec<IpNet>,
}

/// Where the hosts go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum To {
    /// From the inventory to etcd
    Etcd,
    /// From etcd to the inventory
    File,
}

pub(crate) fn run(command: StoreCommand, config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    let shared = settings::shared(config)?.ok_or_else(no_etcd)?;
    let lines = settings::runtime()?.block_on(async {
        match command {
            StoreCommand::Init(args) => init(args, &shared).await,
            StoreCommand::Migrate(args) => match args.to {
                To::Etcd => migrate::to_etcd(&config.inventory.value, &args.prefixes, &shared).await,
                To::File => migrate::to_file(&shared, &config.inventory.value).await,
            },
        }
    })?;
    if json {
        show::print_json(&json!({ "store": shared.name(), "done": lines }))?;
    } else {
        show::print(&(lines.join("\n") + "\n"));
    }
    Ok(ExitCode::SUCCESS)
}

fn no_etcd() -> Advised {
    Advised {
        what: "where etcd is was not said".to_owned(),
        hint: "set `etcd` in byway.toml, or say --etcd https://10.0.0.1:2379".to_owned(),
        cause: None,
    }
}

async fn init(args: InitArgs, shared: &Shared) -> anyhow::Result<Vec<String>> {
    let mut records = Records::open(shared).await?;
    let decide = |registry: &Registry| {
        let is = registry.cluster.as_ref().map(|cluster| cluster.value.subnet_lengths);
        let is = is.unwrap_or_default();
        let subnet_lengths =
            Lengths { ipv4: args.ipv4_length.unwrap_or(is.ipv4), ipv6: args.ipv6_length.unwrap_or(is.ipv6) };
        lease::set_up(registry, &ClusterRecord { prefixes: args.prefixes.clone(), subnet_lengths })
    };
    let list: Vec<String> = args.prefixes.iter().map(ToString::to_string).collect();
    let done = records.change("set the cluster up", decide).await?;
    let verb = if done { "has" } else { "has already" };
    Ok(vec![format!("the cluster in {} {verb} {}", shared.name(), list.join(", "))])
}

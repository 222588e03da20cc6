//! What the agent goes by, who says so, and what is said about mistakes in it.

#[path = "cases/mod.rs"]
mod cases;

use byway_fabric::config::{self, Config, Key, Layer};

#[test]
fn every_mistake_in_the_file_is_told_with_its_place() {
    cases::run("config/mistakes", |case| {
        match Layer::from_toml("byway.toml", case.section("configuration")) {
            Ok(layer) => format!("no mistakes\n{}", show(&config::merge([layer]))),
            Err(mistakes) => format!("{mistakes}\n"),
        }
    });
}

#[test]
fn without_any_setting_the_defaults_hold() {
    let machine = Layer::from_machine("docker41").unwrap();
    let expected = "\
host = docker41 (the machine's host name)
inventory = /etc/byway/inventory.toml (default)
etcd is not set
etcd-prefix = /byway/ (default)
etcd-ca is not set
etcd-cert is not set
etcd-key is not set
etcd-user is not set
etcd-password-file is not set
lease-seconds = 300 (default)
addresses is not set
uplink is not set
bridges is not set
tunnel = auto (default)
networks = bridge,byway (default)
docker-socket = /run/docker.sock (default)
run-dir = /run/byway (default)
state-dir = /var/lib/byway (default)
port = 7172 (default)
metrics is not set
health = on (default)
look-every-seconds = 60 (default)
log = info (default)
";
    assert_eq!(show(&config::merge([machine])), expected);
    assert!(Layer::from_machine("my laptop").is_err());
    assert_eq!(config::merge([]).sentence(Key::Host), "host is not set");
}

#[test]
fn flags_are_stronger_than_the_environment_and_that_than_the_file() {
    let flags =
        Layer::from_flags([(Key::Host, "from-flag".into()), (Key::Inventory, "here.toml".into())]).unwrap();
    let env = environment(&[
        ("BYWAY_HOST", "from-env"),
        ("BYWAY_LOG", "debug"),
        ("BYWAY_ETCD", "https://10.0.0.1:2379, https://10.0.0.2:2379"),
        ("BYWAY_ADDRESSES", "10.1.2.3,fd00::3"),
        ("BYWAY_BRIDGES", "docker0, br-web"),
        ("BYWAY_METRICS", "[::1]:9172"),
    ]);
    let file = "log = \"warn\"\nhost = \"from-file\"\nuplink = \"eth0\"\nlook-every-seconds = 30\n";
    let file = Layer::from_toml("/etc/byway/byway.toml", file).unwrap();
    let expected = "\
host = from-flag (from --host)
inventory = here.toml (from --inventory)
etcd = https://10.0.0.1:2379,https://10.0.0.2:2379 (from BYWAY_ETCD)
etcd-prefix = /byway/ (default)
etcd-ca is not set
etcd-cert is not set
etcd-key is not set
etcd-user is not set
etcd-password-file is not set
lease-seconds = 300 (default)
addresses = 10.1.2.3,fd00::3 (from BYWAY_ADDRESSES)
uplink = eth0 (from /etc/byway/byway.toml:3)
bridges = docker0,br-web (from BYWAY_BRIDGES)
tunnel = auto (default)
networks = bridge,byway (default)
docker-socket = /run/docker.sock (default)
run-dir = /run/byway (default)
state-dir = /var/lib/byway (default)
port = 7172 (default)
metrics = [::1]:9172 (from BYWAY_METRICS)
health = on (default)
look-every-seconds = 30 (from /etc/byway/byway.toml:4)
log = debug (from BYWAY_LOG)
";
    assert_eq!(show(&config::merge([flags, env.unwrap(), file])), expected);
}

#[test]
fn an_unknown_variable_gets_a_suggestion_and_foreign_ones_are_left_alone() {
    let complaints = environment(&[
        ("PATH", "/bin"),
        ("BYWAY_HOSTNAME", "a"),
        ("BYWAY_LOOK_EVERY_SECONDS", "4"),
        ("BYWAY_METRICS", "localhost:9172"),
        ("BYWAY_PORT", "0"),
        ("BYWAY_ETCD", "10.0.0.1:2379"),
        ("BYWAY_ETCD_PREFIX", "/byway"),
        ("BYWAY_LEASE_SECONDS", "1"),
        ("BYWAY_ADDRESSES", "docker41"),
        ("BYWAY_RUN_DIR", "run"),
        ("BYWAY_UPLINK", ""),
        ("BYWAY_BRIDGES", "docker0,,br0"),
        ("BYWAY_X", "1"),
    ]);
    let expected = [
        "BYWAY_ADDRESSES is `docker41`: it is written as 192.168.199.41 or fd00::41",
        "BYWAY_BRIDGES is `docker0,,br0`: an interface name has 1 to 15 bytes, no blanks, no `/` and no `:`, and is \
         not `.` or `..`",
        "BYWAY_ETCD is `10.0.0.1:2379`: it is written as https://10.0.0.1:2379",
        "BYWAY_ETCD_PREFIX is `/byway`: it has up to 256 bytes, no blanks, and ends with a slash, as /byway/",
        "BYWAY_LEASE_SECONDS is `1`: it can be 5 to 604800",
        "BYWAY_LOOK_EVERY_SECONDS is `4`: it can be 5 to 3600",
        "BYWAY_METRICS is `localhost:9172`: it must be an address and a port, as in 127.0.0.1:9172 or [::1]:9172",
        "BYWAY_PORT is `0`: it can be 1 to 65535",
        "BYWAY_RUN_DIR is `run`: it must start with `/`, or it would depend on where the agent is started",
        "`BYWAY_HOSTNAME` is not a setting: did you mean BYWAY_HOST?",
        "`BYWAY_X` is not a setting: did you mean BYWAY_LOG?",
    ];
    assert_eq!(complaints.unwrap_err(), expected);
}

#[test]
fn all_wrong_flags_are_told() {
    let flags = [(Key::Uplink, "eth0 "), (Key::Log, "inf"), (Key::RunDir, "run"), (Key::Host, "")];
    let complaints = Layer::from_flags(flags.map(|(key, text)| (key, text.to_owned()))).unwrap_err();
    let expected = [
        "--uplink is `eth0 `: an interface name has 1 to 15 bytes, no blanks, no `/` and no `:`, and is not `.` or `..`",
        "--log is `inf`: `inf` is not a level: did you mean `info`?",
        "--host is ``: a host name has 1 to 63 of a-z A-Z 0-9 . _ - and starts with a letter or a digit",
    ];
    assert_eq!(complaints, expected);
}

#[test]
fn interface_names_are_those_of_the_kernel() {
    for good in ["eth0", "br-0123456789ab", "eth0.100", "a", "ü", "…", "wg@1"] {
        assert!(config::check_interface_name(good).is_ok(), "{good}");
    }
    for bad in ["", ".", "..", "eth/0", "eth 0", "eth0:1", "a\tb", "a\0", "0123456789abcdef", "üüüüüüüü"]
    {
        assert!(config::check_interface_name(bad).is_err(), "{bad}");
    }
}

#[test]
fn log_filters_are_levels_alone_or_per_target() {
    for good in ["info", "OFF", "warn,byway_agent=debug", "byway_agent::edge=trace"] {
        assert!(config::check_log(good).is_ok(), "{good}");
    }
    let bad = [
        ("", "`` is not a level, which is one of off, error, warn, info, debug, trace"),
        ("verbose", "`verbose` is not a level, which is one of off, error, warn, info, debug, trace"),
        ("info,x=debgu", "`debgu` is not a level: did you mean `debug`?"),
        ("a b=info", "`a b` is not the name of a target"),
    ];
    for (filter, expected) in bad {
        assert_eq!(config::check_log(filter).unwrap_err(), expected);
    }
}

#[test]
fn a_file_that_is_not_text_is_refused() {
    let mistakes = Layer::from_toml_bytes("byway.toml", b"log = \"\xff\"").unwrap_err();
    assert_eq!(mistakes.to_string(), "byway.toml:1:8: a byte that is not UTF-8 (save the file as UTF-8)");
    assert!(Layer::from_toml("byway.toml", &"#".repeat(config::CONFIG_BYTES_MAX + 1)).is_err());
    assert_eq!(Layer::from_toml("byway.toml", "").unwrap(), Layer::default());
}

fn environment(pairs: &[(&str, &str)]) -> Result<Layer, Vec<String>> {
    Layer::from_env(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

fn show(config: &Config) -> String {
    Key::ALL.map(|key| config.sentence(key) + "\n").concat()
}

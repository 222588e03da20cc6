//! The kernel settings that routing between hosts needs, each with the reason why.
//!
//! As few as possible, and per interface where the kernel allows it: a host that was no router for the rest of
//! its network does not become one. In particular `net.ipv4.ip_forward` is never touched; Docker decides by
//! it whether its FORWARD policy becomes DROP.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A setting under `net.ipv4.conf` or `net.ipv6.conf`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sysctl {
    /// IPv6 instead of IPv4.
    pub ipv6: bool,
    /// An interface, or `all`.
    pub scope: String,
    /// What is set.
    pub name: Setting,
}

/// The settings that Byway knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// Whether packets that come in by the interface are routed on. IPv4 looks at the incoming interface
    /// (`ip_route_input_slow`), IPv6 only at `all` (`ip6_forward`).
    Forwarding,
    /// The same for one IPv6 interface, since Linux 6.17.
    ForceForwarding,
    /// Whether router advertisements are heard: 1 = only while not forwarding, 2 = always.
    AcceptRa,
    /// Whether the source of a packet must lead back: 1 = by the interface it came in by, 2 = by any. The kernel takes the
    /// larger of `all` and the interface (`IN_DEV_RPFILTER`), so 2 on one interface loosens that one only. IPv4 only.
    RpFilter,
}

impl Setting {
    const ALL: [(Self, &str); 4] = [
        (Self::Forwarding, "forwarding"),
        (Self::ForceForwarding, "force_forwarding"),
        (Self::AcceptRa, "accept_ra"),
        (Self::RpFilter, "rp_filter"),
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Forwarding => "forwarding",
            Self::ForceForwarding => "force_forwarding",
            Self::AcceptRa => "accept_ra",
            Self::RpFilter => "rp_filter",
        }
    }
}

impl Sysctl {
    /// A setting of IPv4.
    #[must_use]
    pub fn v4(scope: &str, name: Setting) -> Self {
        Self { ipv6: false, scope: scope.to_owned(), name }
    }

    /// A setting of IPv6.
    #[must_use]
    pub fn v6(scope: &str, name: Setting) -> Self {
        Self { ipv6: true, scope: scope.to_owned(), name }
    }

    /// Its file below `/proc/sys`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("net/{}/conf/{}/{}", self.family(), self.scope, self.name.as_str())
    }

    fn family(&self) -> &'static str {
        if self.ipv6 { "ipv6" } else { "ipv4" }
    }

    /// The settings of one interface that can matter.
    pub fn of_link(name: &str) -> impl Iterator<Item = Self> {
        [
            Self::v4(name, Setting::Forwarding),
            Self::v4(name, Setting::RpFilter),
            Self::v6(name, Setting::ForceForwarding),
            Self::v6(name, Setting::AcceptRa),
        ]
        .into_iter()
    }

    /// The settings of the whole host that can matter.
    pub fn of_host() -> impl Iterator<Item = Self> {
        [
            Self::v4("all", Setting::Forwarding),
            Self::v4("all", Setting::RpFilter),
            Self::v6("all", Setting::Forwarding),
        ]
        .into_iter()
    }
}

impl fmt::Display for Sysctl {
    /// As `sysctl(8)` writes it: a dot in the name of an interface becomes a slash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "net.{}.conf.{}.{}", self.family(), self.scope.replace('.', "/"), self.name.as_str())
    }
}

impl From<Sysctl> for String {
    fn from(sysctl: Sysctl) -> Self {
        sysctl.to_string()
    }
}

/// A text that is not one of our settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a setting that Byway knows")]
pub struct UnknownSysctl(String);

impl TryFrom<String> for Sysctl {
    type Error = UnknownSysctl;

    fn try_from(text: String) -> Result<Self, UnknownSysctl> {
        let parts: Vec<&str> = text.split('.').collect();
        let ["net", family @ ("ipv4" | "ipv6"), "conf", scope, name] = parts[..] else {
            return Err(UnknownSysctl(text));
        };
        let Some((setting, _)) = Setting::ALL.into_iter().find(|(_, known)| *known == name) else {
            return Err(UnknownSysctl(text));
        };
        Ok(Self { ipv6: family == "ipv6", scope: scope.replace('/', "."), name: setting })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vlan_interface_keeps_its_dot_in_the_path_and_loses_it_in_the_name() {
        let sysctl = Sysctl::v4("eth0.100", Setting::Forwarding);
        assert_eq!(sysctl.path(), "net/ipv4/conf/eth0.100/forwarding");
        assert_eq!(sysctl.to_string(), "net.ipv4.conf.eth0/100.forwarding");
        assert_eq!(Sysctl::try_from(sysctl.to_string()), Ok(sysctl));
    }

    #[test]
    fn a_setting_of_others_is_refused() {
        assert!(Sysctl::try_from("net.ipv4.conf.all.log_martians".to_owned()).is_err());
        assert!(Sysctl::try_from("kernel.panic".to_owned()).is_err());
    }
}

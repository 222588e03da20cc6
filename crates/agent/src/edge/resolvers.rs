//! The name servers that this host asks (`/etc/resolv.conf`, resolv.conf(5)).

use std::net::IpAddr;
use std::path::Path;

use super::inventory_file;

/// Where they are listed.
const FILE: &str = "/etc/resolv.conf";
/// A longer list is none: the C library reads three.
const FILE_BYTES_MAX: usize = 64 << 10;

/// The addresses of the name servers; none where the file cannot be read.
#[must_use]
pub fn read() -> Vec<IpAddr> {
    let bytes = inventory_file::read(Path::new(FILE), FILE_BYTES_MAX).unwrap_or_default();
    listed(&String::from_utf8_lossy(&bytes))
}

fn listed(text: &str) -> Vec<IpAddr> {
    let servers = text.lines().filter_map(|line| line.trim_start().strip_prefix("nameserver"));
    let addresses = servers.filter_map(|rest| rest.split_whitespace().next());
    // A link-local one has its interface behind a percent sign; it is in nobody's prefix.
    addresses.filter_map(|address| address.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_listed_one_a_line() {
        let text = "# made by hand\nsearch example.org\nnameserver 10.0.0.53\n nameserver fd00::53 # two\nnameserver fe80::1%eth0\nnameserver\n";
        let expected: Vec<IpAddr> = vec!["10.0.0.53".parse().unwrap(), "fd00::53".parse().unwrap()];
        assert_eq!(listed(text), expected);
    }
}

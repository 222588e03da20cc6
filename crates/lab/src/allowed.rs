//! Why the kernel does not let this user make a lab, in words that name the setting.

use std::fs;

/// Where a lab without root is forbidden on one system or the other.
const SETTINGS: [(&str, &str, &str); 3] = [
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "kernel.unprivileged_userns_clone is 0 (Debian's switch): `sysctl kernel.unprivileged_userns_clone=1` allows it",
    ),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "kernel.apparmor_restrict_unprivileged_userns is 1 (AppArmor on Ubuntu 23.10 and later): \
         `sysctl kernel.apparmor_restrict_unprivileged_userns=0` or a profile with `userns,` allows it",
    ),
    (
        "/proc/sys/user/max_user_namespaces",
        "0",
        "user.max_user_namespaces is 0: `sysctl user.max_user_namespaces=10000` allows it",
    ),
];

/// What forbids user namespaces here, as far as the settings tell.
pub(crate) fn why_no_user_namespace() -> String {
    why(|path| fs::read_to_string(path).ok())
}

fn why(read: impl Fn(&str) -> Option<String>) -> String {
    let forbids =
        |(path, value, _): &&(&str, &str, &str)| read(path).is_some_and(|text| text.trim() == *value);
    let reasons: Vec<&str> = SETTINGS.iter().filter(forbids).map(|(_, _, reason)| *reason).collect();
    let reason = if reasons.is_empty() {
        "no setting known to us forbids it; a container's seccomp filter may, or a kernel without CONFIG_USER_NS".into()
    } else {
        reasons.join("; ")
    };
    format!("a lab needs root, or user namespaces for everyone: {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, value: &str, expected: &str) {
        let told = why(|asked| (asked == path).then(|| format!("{value}\n")));
        assert!(told.starts_with("a lab needs root, or user namespaces for everyone: "), "{told}");
        assert!(told.contains(expected), "{told}");
    }

    #[test]
    fn each_setting_that_forbids_a_lab_is_named() {
        check("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone is 0");
        check("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor");
        check("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces is 0");
    }

    #[test]
    fn a_setting_that_allows_a_lab_is_not_blamed() {
        check("/proc/sys/user/max_user_namespaces", "96551", "no setting known to us");
    }
}

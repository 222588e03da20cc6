//! What is to be written, and on what condition.

/// Writes that happen all together, or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    /// What must be as it was.
    pub unchanged: Vec<Unchanged>,
    /// What is written then.
    pub puts: Vec<Put>,
    /// The keys that go then.
    pub deletes: Vec<String>,
}

/// A key that must be as it was when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unchanged {
    /// Below the cluster's prefix.
    pub key: String,
    /// The revision of its last change; 0 if it must not be there.
    pub revision: u64,
}

/// A key and its new value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// Below the cluster's prefix.
    pub key: String,
    /// JSON.
    pub value: String,
    /// Whether it goes when the host's lease lapses.
    pub with_lease: bool,
}

impl Transaction {
    pub(super) fn expect(&mut self, key: String, revision: u64) {
        if self.unchanged.iter().all(|other| other.key != key) {
            self.unchanged.push(Unchanged { key, revision });
        }
    }

    pub(super) fn put(&mut self, key: String, value: &impl serde::Serialize) {
        self.write(key, value, false);
    }

    pub(super) fn put_with_lease(&mut self, key: String, value: &impl serde::Serialize) {
        self.write(key, value, true);
    }

    /// Deletes what stands there, as it was read.
    pub(super) fn delete(&mut self, key: String, revision: u64) {
        self.expect(key.clone(), revision);
        self.deletes.push(key);
    }

    /// Whether nothing changes when it happens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.deletes.is_empty()
    }

    fn write(&mut self, key: String, value: &impl serde::Serialize, with_lease: bool) {
        let value = serde_json::to_value(value).unwrap_or_default().to_string();
        self.puts.push(Put { key, value, with_lease });
    }
}

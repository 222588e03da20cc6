//! The same for programs: one object. Times are in nanoseconds, moments in nanoseconds since 1970.

use byway_fabric::mysql::digest::{Digests, Figures, Order, Row, Whose};
use byway_wire::mysql::text::{self, Charset};
use serde_json::{Map, Value, json};

use super::{Options, details};

/// `{"summary": …, "statements": […], "others": …}`
pub(crate) fn json(digests: &Digests, options: &Options<'_>) -> Value {
    let ranking = digests.ranked(options.most);
    let mut summary = figures(digests.all(), digests);
    summary.insert("groups".to_owned(), digests.groups().into());
    summary.insert("given_up".to_owned(), digests.given_up().into());
    summary.insert("sorted_by".to_owned(), name(digests.settings().order).into());
    let statements: Vec<Value> = ranking.rows.iter().map(|row| statement(row, digests, options)).collect();
    let others = ranking.others.map(|others| {
        let mut object = figures(&others.figures, digests);
        object.insert("groups".to_owned(), others.groups.into());
        object.insert("given_up".to_owned(), others.given_up.into());
        object.insert("share".to_owned(), others.share.into());
        object
    });
    json!({ "summary": summary, "statements": statements, "others": others })
}

fn statement(row: &Row<'_>, digests: &Digests, options: &Options<'_>) -> Value {
    let group = row.group;
    let mut object = figures(group.figures(), digests);
    object.insert("rank".to_owned(), row.rank.into());
    object.insert("share".to_owned(), row.share.into());
    object.insert("id".to_owned(), group.id().to_string().into());
    put_text(&mut object, "fingerprint", &group.fingerprint().bytes, group.fingerprint().charset);
    put_whose(&mut object, group.whose(), options);
    let slowest = group.slowest();
    let ((time_ns, response_ns), (client, server)) = (group.slowest_ns(), group.slowest_between());
    let mut sample = Map::new();
    put_text(&mut sample, "statement", &details::bytes(slowest, options.literals), slowest.charset);
    sample.insert("length".to_owned(), slowest.length.into());
    sample.insert("time_ns".to_owned(), time_ns.into());
    sample.insert("response_ns".to_owned(), response_ns.into());
    sample.insert("client".to_owned(), client.to_string().into());
    sample.insert("server".to_owned(), server.to_string().into());
    object.insert("slowest".to_owned(), sample.into());
    object.into()
}

fn put_whose(object: &mut Map<String, Value>, whose: Whose<&[u8]>, options: &Options<'_>) {
    let mut put_name = |key: &str, name: Option<&[u8]>| match name {
        Some(name) => put_text(object, key, name, Charset::Utf8),
        None => {
            object.insert(key.to_owned(), Value::Null);
        }
    };
    match whose {
        Whose::Anybody => {}
        Whose::Database(name) => put_name("database", name),
        Whose::User(name) => put_name("user", name),
        Whose::Client(address) => {
            object.insert("client".to_owned(), address.to_string().into());
            object.insert("client_name".to_owned(), options.names.get(&address).cloned().into());
        }
        Whose::Server(server) => {
            object.insert("server".to_owned(), server.to_string().into());
            object.insert("server_name".to_owned(), options.names.get(&server.ip()).cloned().into());
        }
    }
}

fn figures(figures: &Figures, digests: &Digests) -> Map<String, Value> {
    let times = &figures.times;
    let value = json!({
        "count": figures.count,
        "per_second": digests.per_second(figures),
        "errors": figures.errors,
        "unanswered": figures.unanswered,
        "doubtful": figures.doubtful,
        "rows": figures.rows,
        "affected": figures.affected,
        "bytes": figures.bytes,
        "first_ns": figures.seen_ns.map(|(first, _)| first),
        "last_ns": figures.seen_ns.map(|(_, last)| last),
        "response_ns": {
            "total": times.sum_ns(),
            "min": times.min_ns(),
            "average": times.average_ns(),
            "median": times.percentile_ns(50),
            "p95": times.percentile_ns(95),
            "p99": times.percentile_ns(99),
            "max": times.max_ns(),
        },
    });
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// A text, and all of its bytes beside it if it is none.
fn put_text(object: &mut Map<String, Value>, key: &str, bytes: &[u8], charset: Charset) {
    let mut member = b"{".to_vec();
    text::json(key, bytes, charset, &mut member);
    member.push(b'}');
    if let Ok(Value::Object(member)) = serde_json::from_slice(&member) {
        object.extend(member);
    }
}

fn name(order: Order) -> &'static str {
    match order {
        Order::Time => "time",
        Order::Count => "count",
        Order::Errors => "errors",
        Order::Rows => "rows",
        Order::Affected => "affected",
        Order::Bytes => "bytes",
        Order::Max => "max",
        Order::Average => "average",
    }
}

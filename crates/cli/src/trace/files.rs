//! `byway trace -r FILE …`: packets followed through captures that others made.
//!
//! Each file is read once, packet by packet; what is found in them is thought in `byway_fabric::trace::files`.

pub(super) mod show;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use byway_agent::edge::capture_file::{CaptureFile, CaptureFileError};
use byway_fabric::trace::files::{Captures, FILES_MAX, FileId, POINTS_MAX, PointId};
use byway_wire::{Frame, LinkType};
use serde_json::json;

use super::TraceArgs;
use crate::complaint::{self, Advised};
use crate::show::{print, print_json};

/// Follows packets through files; exit status 1 if some were lost, or a file could not be read to its end.
pub(super) fn run(args: &TraceArgs, json: bool) -> anyhow::Result<ExitCode> {
    let mut captures = Captures::new();
    let mut troubles: Vec<anyhow::Error> = Vec::new();
    for (path, name) in args.files.iter().zip(names(&args.files)?) {
        let file = CaptureFile::open(path)?;
        let id = captures.file(&name).ok_or_else(|| {
            refused(
                format!("more than {FILES_MAX} files"),
                "put those of one machine together: `mergecap -w OUT.pcapng FILE …`",
            )
        })?;
        match read(file, id, &mut captures) {
            Ok(()) => {}
            Err(Trouble::File(error)) => troubles.push(error.into()),
            Err(Trouble::Points) => {
                return Err(refused(
                    format!("more than {POINTS_MAX} interfaces in all files"),
                    "give fewer files at once",
                ));
            }
        }
    }
    let stitched = captures.stitch(args.list);
    if json {
        let mut value = serde_json::to_value(&stitched)?;
        value["errors"] = json!(troubles.iter().map(complaint::for_programs).collect::<Vec<_>>());
        print_json(&value)?;
    } else {
        print(&show::text(&stitched));
        for trouble in &troubles {
            complaint::print(trouble, false);
        }
        print(&show::totals(&stitched.totals));
    }
    let is_well = troubles.is_empty() && stitched.totals.lost == 0;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Why a file was not read to its end.
enum Trouble {
    File(CaptureFileError),
    Points,
}

/// What to call the files: their names without folders, if these are different.
fn names(paths: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let whole: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    if let Some(twice) = whole.iter().enumerate().find(|(nth, name)| whole[..*nth].contains(name)) {
        return Err(refused(
            format!("the file {} is given twice", twice.1),
            "one -r for each file: twice the same packets are no second sighting",
        ));
    }
    let short = |path: &PathBuf| path.file_name().map(|name| Path::new(name).display().to_string());
    let short: Option<Vec<String>> = paths.iter().map(short).collect();
    let is_told_apart = |names: &Vec<String>| names.iter().collect::<BTreeSet<_>>().len() == names.len();
    Ok(short.filter(is_told_apart).unwrap_or(whole))
}

fn refused(what: String, hint: &str) -> anyhow::Error {
    Advised { what, hint: hint.to_owned(), cause: None }.into()
}

fn read(mut file: CaptureFile, id: FileId, captures: &mut Captures) -> Result<(), Trouble> {
    let mut points: BTreeMap<(usize, Option<u32>), PointId> = BTreeMap::new();
    // A packet without a time was there with the one before it.
    let mut time_ns = 0;
    while file.advance().map_err(Trouble::File)? {
        let Some(record) = file.packet() else { continue };
        time_ns = record.time_ns.unwrap_or(time_ns);
        let interface = file.interfaces().get(record.interface);
        let link = interface.and_then(|interface| LinkType::from_number(interface.link));
        let (Some(interface), Some(link)) = (interface, link) else {
            captures.unreadable(id);
            continue;
        };
        let frame = Frame::decode(link, record.bytes);
        let index = frame.cooked.and_then(|cooked| cooked.interface);
        let at = if let Some(at) = points.get(&(record.interface, index)) {
            *at
        } else {
            let name = match (index, &interface.name) {
                (Some(index), _) => Some(format!("if{index}")),
                (None, Some(name)) => Some(name.clone()),
                // Several interfaces of one file without names have numbers.
                (None, None) => (file.interfaces().len() > 1).then(|| format!("#{}", record.interface)),
            };
            let at =
                captures.point(id, name.as_deref(), link == LinkType::LinuxSll).ok_or(Trouble::Points)?;
            points.insert((record.interface, index), at);
            at
        };
        captures.frame(at, time_ns, record.direction, &frame);
    }
    Ok(())
}

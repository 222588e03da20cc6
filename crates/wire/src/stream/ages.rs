//! Which connection was quiet for longest: two lines, in each the one with the oldest last packet first.

const NONE: u32 = u32::MAX;

/// Which line a connection stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Class {
    /// Nothing is read of it: no data yet, over, or of no interest. These are given up first.
    #[default]
    Idle,
    /// It has a reader.
    Read,
}

/// Both lines, threaded through one array.
#[derive(Debug)]
pub(super) struct Ages {
    links: Vec<Link>,
    lines: [Line; 2],
}

#[derive(Debug, Clone, Copy)]
struct Link {
    older: u32,
    newer: u32,
    class: Class,
}

#[derive(Debug, Clone, Copy)]
struct Line {
    oldest: u32,
    newest: u32,
    count: u32,
}

impl Ages {
    pub(super) fn new() -> Self {
        Self { links: Vec::new(), lines: [Line { oldest: NONE, newest: NONE, count: 0 }; 2] }
    }

    /// Puts a connection that is in no line at the end of one.
    pub(super) fn add(&mut self, place: u32, class: Class) {
        let at = index(place);
        if at >= self.links.len() {
            self.links.resize(at + 1, Link { older: NONE, newer: NONE, class });
        }
        self.append(place, class);
    }

    /// A packet of it came.
    #[inline]
    pub(super) fn touch(&mut self, place: u32, class: Class) {
        let is_newest = self.lines[class as usize].newest == place;
        if !is_newest {
            self.remove(place);
            self.append(place, class);
        }
    }

    pub(super) fn remove(&mut self, place: u32) {
        let Link { older, newer, class } = self.links[index(place)];
        let line = &mut self.lines[class as usize];
        line.count -= 1;
        match older {
            NONE => line.oldest = newer,
            older => self.links[index(older)].newer = newer,
        }
        match newer {
            NONE => line.newest = older,
            newer => self.links[index(newer)].older = older,
        }
    }

    /// Whose place to take: where nothing is read if an eighth of all is like that, so that somebody who asks all ports
    /// pushes nobody out, and yet a new connection gets as far as its first byte.
    pub(super) fn oldest(&self) -> Option<u32> {
        let [idle, read] = self.lines;
        let (first, then) = if idle.count >= read.count / 7 { (idle, read) } else { (read, idle) };
        [first.oldest, then.oldest].into_iter().find(|place| *place != NONE)
    }

    /// The one with a reader that was quiet for longest.
    pub(super) fn oldest_read(&self) -> Option<u32> {
        Some(self.lines[Class::Read as usize].oldest).filter(|place| *place != NONE)
    }

    fn append(&mut self, place: u32, class: Class) {
        let line = &mut self.lines[class as usize];
        let older = line.newest;
        self.links[index(place)] = Link { older, newer: NONE, class };
        line.newest = place;
        line.count += 1;
        match older {
            NONE => line.oldest = place,
            older => self.links[index(older)].newer = place,
        }
    }
}

fn index(place: u32) -> usize {
    place as usize
}

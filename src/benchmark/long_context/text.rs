//! The texts: sentences put together from parts that go with each other, written for this project. No digit stands in them but in a needle.

use super::{DEPTHS, Kind, Question, Text};
use rand_mt::Mt64;
use std::collections::BTreeSet;

/// Who does something.
const ACTORS: [&str; 24] = [
    "The baker",
    "A retired teacher",
    "The ferry pilot",
    "One of the gardeners",
    "The night watchman",
    "A visiting painter",
    "The postmaster",
    "An old fisherman",
    "The school librarian",
    "A young carpenter",
    "The bell ringer",
    "A group of hikers",
    "The owner of the bookshop",
    "A travelling clockmaker",
    "The nurse from the clinic",
    "The keeper of the museum",
    "A shepherd from the hills",
    "The choir leader",
    "Two apprentices",
    "The harbour clerk",
    "A beekeeper",
    "The miller",
    "The bus driver",
    "A student of botany",
];

/// What anyone may have done.
const DEEDS: [&str; 32] = [
    "walked down to the harbour to look at the boats",
    "mended the fence behind the orchard",
    "carried a basket of apples to the market hall",
    "wrote a short note to the council",
    "swept the leaves from the steps of the chapel",
    "waited under the arcade until the street was quiet",
    "planted three rows of beans along the wall",
    "sorted old photographs at the kitchen table",
    "read aloud from a book about distant islands",
    "polished the brass handles of the town hall",
    "followed the path along the river as far as the weir",
    "repaired the hinge of the garden gate",
    "told a long story about a lost umbrella",
    "painted the window frames a pale shade of green",
    "collected shells on the beach below the cliff",
    "stopped at the fountain to drink some water",
    "borrowed a ladder from the workshop next door",
    "hung the lanterns between the lime trees",
    "baked a cake with plums and cinnamon",
    "watched the swallows above the square",
    "brought a jar of honey to the neighbours",
    "drew a map of the footpaths in the valley",
    "listened to the rain on the roof of the barn",
    "gathered firewood at the edge of the forest",
    "played a slow tune on the violin",
    "fed the ducks on the pond behind the mill",
    "counted the sacks of grain in the storehouse",
    "wound the clock in the entrance hall",
    "folded the blankets and put them on the shelf",
    "washed the dust from the shop windows",
    "cycled to the next village and back",
    "set up chairs for the evening concert",
];

/// When.
const TIMES: [&str; 20] = [
    "early in the morning",
    "shortly before noon",
    "after the rain had stopped",
    "while the bread was in the oven",
    "on the first warm day of spring",
    "late in the afternoon",
    "as soon as the fog had lifted",
    "on the evening before the fair",
    "during the long summer holidays",
    "when the church bells began to ring",
    "at the end of a quiet week",
    "just after the last ferry had left",
    "on a windy day in autumn",
    "before the shops had opened",
    "in the weeks after the harvest",
    "while the others were still asleep",
    "on the way home from the station",
    "once the snow had melted",
    "in the hour before sunset",
    "on the day of the spring cleaning",
];

/// What was seen, and how it looked.
const SIGHTS: [(&str, &str); 24] = [
    ("The bench beside the chapel", "had been painted blue and was still a little damp"),
    ("The water in the canal", "was so clear that one could see the stones at the bottom"),
    ("The lane behind the brewery", "smelled of malt and wet leaves"),
    ("The old lighthouse", "looked smaller than it does in the paintings"),
    ("The meadow beyond the bridge", "was full of clover and bees"),
    ("The windows of the station", "reflected the orange light of the evening"),
    ("The roof of the barn", "needed new tiles on its northern side"),
    ("The wind from the sea", "turned the vanes of the mill slowly"),
    ("The stairs to the upper town", "were worn smooth by many feet"),
    ("The garden of the inn", "was closed because of a wasps' nest"),
    ("The clouds above the ridge", "moved quickly towards the east"),
    ("The market square", "was almost empty apart from a few pigeons"),
    ("The path through the reeds", "led to a small wooden jetty"),
    ("The library", "had received a box of new atlases"),
    ("The ferry", "was late because of the low tide"),
    ("The hedge along the railway", "was full of sparrows"),
    ("The apple trees", "carried more fruit than in other years"),
    ("The snow on the hills", "lasted well into the season of lambs"),
    ("The big oak near the school", "lost a branch in the storm"),
    ("The river", "ran high and brown under the stone bridge"),
    ("The attic of the town hall", "was full of flags and broken chairs"),
    ("The street lamps", "were switched on earlier than usual"),
    ("The harbour wall", "was covered with nets that lay there to dry"),
    ("The tea room on the corner", "served scones with gooseberry jam"),
];

/// What people said of it.
const REMARKS: [&str; 16] = [
    "nobody was in a hurry",
    "the talk soon turned to the weather",
    "the children thought that it was funny",
    "most people agreed that it had been worth the effort",
    "there was no need to hurry home",
    "the dog slept through all of it",
    "everyone was glad of a cup of tea afterwards",
    "it was mentioned in the parish newsletter",
    "the neighbours came to help",
    "it took longer than expected",
    "no one could remember a better year",
    "the rest of the day passed quietly",
    "there was music in the square later",
    "the work was finished before dark",
    "the cat watched from the window sill",
    "it reminded some of an earlier summer",
];

/// What a store may hold: single words that fill a text up to its length.
pub(super) const STORES: [&str; 64] = [
    "rope", "salt", "oil", "tar", "wool", "soap", "rice", "flour", "tea", "corn", "oats", "wax", "twine", "nails", "lamps", "bricks",
    "candles", "barrels", "buckets", "brooms", "paint", "brushes", "cloth", "thread", "buttons", "boots", "gloves", "hats", "paper", "ink",
    "chalk", "string", "glass", "pots", "pans", "plates", "cups", "spoons", "forks", "knives", "baskets", "sacks", "crates", "boxes",
    "tins", "jars", "corks", "seeds", "bulbs", "spades", "rakes", "hoes", "saws", "files", "hammers", "screws", "hinges", "locks", "bolts",
    "chains", "hooks", "nets", "sails", "oars",
];

/// Places whose codes are the needles. None of them occurs in the haystack.
const PLACES: [&str; 40] = [
    "granite observatory",
    "silver greenhouse",
    "northern archive",
    "copper pavilion",
    "hidden cellar",
    "crystal theatre",
    "western granary",
    "marble aquarium",
    "velvet gallery",
    "iron boathouse",
    "eastern powder room",
    "amber laboratory",
    "cedar warehouse",
    "painted tower",
    "southern signal box",
    "ivory chamber",
    "glass conservatory",
    "bronze foundry",
    "walnut study",
    "limestone vault",
    "scarlet wagon",
    "upper reservoir",
    "lower engine house",
    "emerald salon",
    "quiet planetarium",
    "round stable",
    "narrow armoury",
    "tiled bathhouse",
    "vaulted kitchen",
    "pearl carriage",
    "slate quarry office",
    "golden rotunda",
    "winter dormitory",
    "bamboo teahouse",
    "mirrored ballroom",
    "sunken cloister",
    "brick kiln",
    "ancient cistern",
    "royal mint",
    "distant weather station",
];

/// A number below `bound`, which is small beside 2⁶⁴.
fn below(random: &mut Mt64, bound: usize) -> usize {
    usize::try_from(random.next_u64() % u64::try_from(bound.max(1)).unwrap_or(u64::MAX)).unwrap_or_default()
}

fn pick<'a>(random: &mut Mt64, list: &[&'a str]) -> &'a str {
    list[below(random, list.len())]
}

/// The list in a random order (Fisher and Yates).
fn shuffled<T: Clone>(random: &mut Mt64, list: &[T]) -> Vec<T> {
    let mut list = list.to_vec();
    for last in (1..list.len()).rev() {
        list.swap(last, below(random, last + 1));
    }
    list
}

fn sentence(random: &mut Mt64) -> String {
    match below(random, 4) {
        0 => format!("{} {} {}.", pick(random, &ACTORS), pick(random, &DEEDS), pick(random, &TIMES)),
        1 => {
            let time = pick(random, &TIMES);
            let actor = pick(random, &ACTORS);
            format!("{}, {} {}.", capitalised(time), lowered(actor), pick(random, &DEEDS))
        }
        2 => {
            let (sight, look) = SIGHTS[below(random, SIGHTS.len())];
            format!("{sight} {look}, and {}.", pick(random, &REMARKS))
        }
        _ => format!("{} {}, and {}.", pick(random, &ACTORS), pick(random, &DEEDS), pick(random, &REMARKS)),
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn lowered(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// A sentence of `words` words that name goods.
fn fill(words: usize) -> String {
    match words.min(STORES.len()) {
        0 => String::new(),
        words => format!(" The store list of that week names {}.", STORES[..words].join(", ")),
    }
}

/// Position of a depth among `units` units.
fn position(depth: u32, units: usize) -> usize {
    (units * depth as usize + 50) / 100
}

/// A report with needles: a unit is a sentence.
pub(super) struct Report {
    sentences: Vec<String>,
    /// Place and code by depth.
    needles: Vec<(&'static str, String)>,
}

impl Report {
    /// A report that can grow to `most` sentences.
    pub(super) fn new(random: &mut Mt64, most: usize) -> Self {
        let places = shuffled(random, &PLACES);
        let mut codes = BTreeSet::new();
        let mut needles = Vec::new();
        while needles.len() < DEPTHS.len() {
            // Five digits, the first of them not 0.
            let code = 10_000 + below(random, 90_000);
            if codes.insert(code) {
                needles.push((places[needles.len()], code.to_string()));
            }
        }
        let mut sentences: Vec<String> = Vec::with_capacity(most);
        while sentences.len() < most {
            let next = sentence(random);
            if sentences.last() != Some(&next) {
                sentences.push(next);
            }
        }
        Self { sentences, needles }
    }
}

impl Text for Report {
    fn body(&self, units: usize, words: usize) -> String {
        let mut body = String::from(
            "Below is a long report about life in a small town. Some access codes are hidden in it. Read it and remember the codes.\n\n",
        );
        let needle = |(place, code): &(&str, String)| format!("The access code of the {place} is {code}.");
        for index in 0..=units {
            if index == units {
                body.push_str(fill(words).trim_start());
                body.push_str(if words > 0 { " " } else { "" });
            }
            for (depth, hidden) in DEPTHS.into_iter().zip(&self.needles).filter(|(depth, _)| position(*depth, units) == index) {
                body.push_str(&needle(hidden));
                body.push(if depth == 100 { '\n' } else { ' ' });
            }
            if index < units {
                body.push_str(&self.sentences[index]);
                body.push(if index % 7 == 6 { '\n' } else { ' ' });
            }
        }
        body
    }

    fn questions(&self, _units: usize) -> Vec<Question> {
        let question = |(depth, (place, code)): (u32, &(&str, String))| Question {
            kind: Kind::Needle,
            depth,
            prompt: format!("\nQuestion: What is the access code of the {place}?\nAnswer: The access code of the {place} is"),
            answer: code.clone(),
        };
        DEPTHS.into_iter().zip(&self.needles).map(question).collect()
    }

    fn least(&self) -> usize {
        DEPTHS.len()
    }
}

/// Beginnings and ends of names. No name is the beginning of another.
const NAME_HEADS: [&str; 36] = [
    "Alder", "Bram", "Cald", "Dun", "Elm", "Fen", "Gorse", "Hart", "Ivel", "Jarrow", "Kel", "Lark", "Mere", "Nether", "Oaken", "Pell",
    "Quarn", "Raven", "Sallow", "Thorn", "Ulver", "Vane", "Wether", "Yarrow", "Ash", "Birk", "Crane", "Drake", "Ember", "Frost", "Grim",
    "Heather", "Iron", "Juniper", "Kestrel", "Linden",
];
const TOWN_TAILS: [&str; 16] = [
    "bury", "cliff", "combe", "dale", "ford", "gate", "haven", "holm", "minster", "mouth", "ness", "port", "stead", "thwaite", "wick",
    "worth",
];
const HOUSE_TAILS: [&str; 8] = ["brook", "crest", "field", "hurst", "ley", "mont", "shaw", "wood"];
const HOUSES: [&str; 8] = ["Observatory", "Library", "Museum", "Academy", "Theatre", "Hospital", "Conservatory", "Archive"];
const GUILDS: [&str; 12] = [
    "weavers",
    "shipwrights",
    "glassblowers",
    "printers",
    "bakers",
    "masons",
    "tanners",
    "clockmakers",
    "potters",
    "brewers",
    "saddlers",
    "goldsmiths",
];
const TREASURES: [&str; 12] = [
    "a painted globe",
    "a set of silver spoons",
    "an ivory chessboard",
    "a tapestry of the four seasons",
    "a model of a sailing ship",
    "an organ with wooden pipes",
    "a collection of pressed flowers",
    "a bronze bell",
    "a letter in an unknown language",
    "a telescope made of brass",
    "a cabinet of shells",
    "a carpet with blue birds",
];

/// One short document of a collection.
struct Entry {
    house: String,
    town: String,
    /// Index of the entry that keeps this one's spare key.
    keeper: usize,
    rest: String,
}

/// A collection of documents: a unit is a document.
pub(super) struct Collection {
    entries: Vec<Entry>,
}

impl Collection {
    /// A collection that can grow to `most` documents.
    pub(super) fn new(random: &mut Mt64, most: usize) -> Self {
        let names = |tails: &[&str]| -> Vec<String> {
            NAME_HEADS.iter().flat_map(|head| tails.iter().map(move |tail| format!("{head}{tail}"))).collect()
        };
        let towns = shuffled(random, &names(&TOWN_TAILS));
        let houses: Vec<String> =
            names(&HOUSE_TAILS).iter().flat_map(|name| HOUSES.iter().map(move |house| format!("{name} {house}"))).collect();
        let houses = shuffled(random, &houses);
        let count = most.clamp(DEPTHS.len(), towns.len());
        let entries = houses
            .into_iter()
            .zip(towns)
            .take(count)
            .enumerate()
            .map(|(index, (house, town))| {
                let founders = pick(random, &GUILDS);
                let treasure = pick(random, &TREASURES);
                // Keys are kept by an earlier document or, for the first few, by one of these: the keeper is always in the text.
                let keeper =
                    if index < DEPTHS.len() { (index + 1 + below(random, DEPTHS.len() - 1)) % DEPTHS.len() } else { below(random, index) };
                let rest = format!("It was founded by the guild of {founders}, and visitors are shown {treasure}. {}", sentence(random));
                Entry { house, town, keeper, rest }
            })
            .collect();
        Self { entries }
    }

    fn at(&self, depth: u32, units: usize) -> &Entry {
        &self.entries[position(depth, units.min(self.entries.len()) - 1)]
    }
}

impl Text for Collection {
    fn body(&self, units: usize, words: usize) -> String {
        let mut body =
            String::from("Below is a collection of short documents. Answer the question at the end from what the documents say.\n\n");
        for (number, entry) in self.entries.iter().take(units).enumerate() {
            let Entry { house, town, rest, keeper } = entry;
            let keeper = &self.entries[*keeper].house;
            let parts = [
                "Document ",
                &letters(number),
                ": ",
                house,
                "\nThe ",
                house,
                " stands in the town of ",
                town,
                ". ",
                rest,
                " The spare key of the ",
                house,
                " is kept by the ",
                keeper,
                ".\n\n",
            ];
            body.extend(parts);
        }
        if words > 0 {
            body.extend(["Note:", &fill(words), "\n\n"]);
        }
        body
    }

    fn questions(&self, units: usize) -> Vec<Question> {
        let one = |depth: u32| {
            let Entry { house, town, .. } = self.at(depth, units);
            Question {
                kind: Kind::Document,
                depth,
                prompt: format!("Question: In which town does the {house} stand?\nAnswer: The {house} stands in the town of"),
                answer: town.clone(),
            }
        };
        let two = |depth: u32| {
            let Entry { house, keeper, .. } = self.at(depth, units);
            Question {
                kind: Kind::TwoDocuments,
                depth,
                prompt: format!(
                    "Question: In which town is the spare key of the {house} kept?\nAnswer: The spare key of the {house} is kept in the town of"
                ),
                answer: self.entries[*keeper].town.clone(),
            }
        };
        DEPTHS.into_iter().map(one).chain(DEPTHS.into_iter().map(two)).collect()
    }

    fn least(&self) -> usize {
        DEPTHS.len()
    }
}

/// A, B, …, Z, AA, AB, …: numbers of documents without digits.
fn letters(number: usize) -> String {
    let letter = |index: usize| char::from(b'A' + u8::try_from(index % 26).unwrap_or_default());
    if number < 26 { letter(number).to_string() } else { format!("{}{}", letters(number / 26 - 1), letter(number)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No place of a needle and no digit occurs in ordinary sentences; no town is a part of another or of a house's name.
    #[test]
    fn facts_cannot_be_mistaken() {
        let mut random = super::super::stream("facts");
        for _ in 0..5_000 {
            let text = sentence(&mut random);
            assert!(!text.contains(|letter: char| letter.is_ascii_digit()), "{text}");
            assert!(PLACES.iter().all(|place| !text.to_lowercase().contains(place)), "{text}");
        }
        let towns: Vec<String> = NAME_HEADS.iter().flat_map(|head| TOWN_TAILS.iter().map(move |tail| format!("{head}{tail}"))).collect();
        let names: BTreeSet<&String> = towns.iter().collect();
        assert_eq!(names.len(), towns.len());
        assert!(towns.iter().all(|town| towns.iter().filter(|other| other.contains(town.as_str())).count() == 1));
        assert!(towns.iter().all(|town| !TOWN_TAILS.iter().any(|tail| HOUSE_TAILS.contains(tail)) && !town.contains(' ')));
        assert!(STORES.iter().all(|word| STORES.iter().filter(|other| other == &word).count() == 1));
    }

    #[test]
    fn documents_are_numbered_by_letters() {
        assert_eq!([0, 25, 26, 27, 701, 702].map(letters), ["A", "Z", "AA", "AB", "ZZ", "AAA"]);
    }

    #[test]
    fn depths_span_the_text() {
        assert_eq!(DEPTHS.map(|depth| position(depth, 40)), [0, 10, 20, 30, 40]);
        assert_eq!(DEPTHS.map(|depth| position(depth, 9)), [0, 2, 5, 7, 9]);
    }
}

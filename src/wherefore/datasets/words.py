"""What the words of a caption show: which of them name a thing of a category, as people name it.

The list is our own. Left out are words that as often mean something else (glass, bag, computer, van, plant, screen).
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import NamedTuple

from wherefore.scenes.words import plural
from wherefore.vocabulary import tokens

# Of each category of COCO the nouns that name it, by commas; after a stroke a plural that no rule makes, or none.
NOUNS = {
    "person": "person, man/men, woman/women, child/children, boy, girl, kid, baby, toddler, infant, lady, guy, "
    "gentleman/gentlemen, adult, teenager, teen, youngster, lad, player, skier, surfer, skateboarder, snowboarder, "
    "boarder, skater, batter, hitter, batsman/batsmen, catcher, umpire, referee, outfielder, infielder, "
    "baseman/basemen, goalie, athlete, swimmer, runner, jogger, hiker, climber, dancer, rider, cyclist, bicyclist, "
    "biker, motorcyclist, motorist, pedestrian, commuter, passenger, traveler, driver, pilot, conductor, sailor, "
    "worker, officer, policeman/policemen, policewoman/policewomen, cop, soldier, fireman/firemen, firefighter, chef, "
    "baker, waiter, waitress, bartender, vendor, farmer, cowboy, jockey, fisherman/fishermen, shepherd, bride, groom, "
    "couple, friend, family, mother, mom, father, dad, parent, son, daughter, brother, sister, husband, wife/wives, "
    "grandmother, grandma, grandfather, grandpa, tourist, student, teacher, spectator, onlooker, bystander, audience/, "
    "crowd, shopper, customer, patron, guest, businessman/businessmen, businesswoman/businesswomen, doctor, nurse, "
    "dentist, photographer, cameraman/cameramen, clown, monk, kiteboarder, windsurfer, male, female, mans/, womans/, "
    "tennis player, baseball player, soccer player, ball player, frisbee player, baseball pitcher, ski instructor, "
    "police officer, bus driver, truck driver, train conductor, persons/",
    "bicycle": "bicycle, bike, mountain bike, road bike, tandem bike, pedal bike, tricycle",
    "car": "car, automobile, auto, sedan, taxi, taxi cab, taxicab, cab, suv, minivan, mini van, jeep, limo, limousine, "
    "hatchback, coupe, convertible, station wagon, police car, race car, sports car, cop car, patrol car",
    "motorcycle": "motorcycle, motorbike, motor cycle, motor bike, moped, dirt bike, dirtbike, scooter, motor scooter, "
    "vespa",
    "airplane": "airplane, air plane, aeroplane, plane, jet, jetliner, jet liner, jumbo jet, airliner, air liner, "
    "aircraft/, biplane, seaplane, sea plane, fighter jet, jet fighter, jet plane, passenger jet",
    "bus": "bus, double decker, double decker bus, doubledecker, doubledecker bus, minibus, mini bus, school bus, "
    "schoolbus, tour bus, city bus, trolley bus, busses/",
    "train": "train, locomotive, steam engine, train engine, train car, railcar, rail car, railroad car, subway car, "
    "caboose, bullet train",
    "truck": "truck, pickup, pickup truck, pick up truck, fire truck, firetruck, fire engine, dump truck, "
    "garbage truck, tow truck, semi, semi truck, tractor trailer, big rig, lorry, eighteen wheeler, 18 wheeler",
    "boat": "boat, sailboat, sail boat, ship, rowboat, row boat, motorboat, motor boat, speedboat, speed boat, "
    "fishing boat, tugboat, tug boat, houseboat, house boat, canoe, kayak, yacht, ferry, ferry boat, ferryboat, barge, "
    "dinghy, catamaran, cruise ship, schooner, lifeboat, life boat",
    "traffic light": "traffic light, traffic signal, stop light, stoplight, traffic lamp, signal light, street signal",
    "fire hydrant": "fire hydrant, hydrant, firehydrant, fire plug, water hydrant",
    "stop sign": "stop sign, stopsign",
    "parking meter": "parking meter, parking metre, park meter",
    "bench": "bench, park bench, pew, church pew",
    "bird": "bird, duck, goose/geese, seagull, sea gull, gull, pigeon, dove, parrot, parakeet, macaw, cockatoo, "
    "cockatiel, swan, owl, eagle, hawk, falcon, vulture, crow, raven, sparrow, robin, finch, blue jay, bluejay, "
    "hummingbird, humming bird, woodpecker, kingfisher, rooster, hen, peacock, pelican, flamingo, ostrich, "
    "penguin, heron, stork, egret, cormorant, sandpiper, songbird, duckling",
    "cat": "cat, kitten, kitty, feline, tabby, tabby cat, tomcat, calico cat, house cat",
    "dog": "dog, puppy, pup, puppy dog, doggy, doggie, canine, hound, poodle, terrier, labrador, retriever, "
    "golden retriever, german shepherd, dachshund, chihuahua, collie, sheepdog, sheep dog, bulldog, bull dog, pitbull, "
    "pit bull, pug, beagle, dalmatian, husky, corgi, spaniel, wiener dog, weiner dog",
    "horse": "horse, pony, colt, foal, mare, stallion, racehorse, race horse, clydesdale",
    "sheep": "sheep/, lamb, ewe, ram",
    "cow": "cow, cattle/, bull, calf/calves, ox/oxen, heifer, longhorn, bovine",
    "elephant": "elephant, pachyderm",
    "bear": "bear, polar bear, grizzly, grizzly bear, brown bear, black bear, bear cub, panda, panda bear",
    "zebra": "zebra",
    "giraffe": "giraffe",
    "backpack": "backpack, back pack, knapsack, rucksack, book bag, bookbag, school bag",
    "umbrella": "umbrella, parasol, beach umbrella, patio umbrella",
    "handbag": "handbag, hand bag, purse, pocketbook, tote, tote bag, shoulder bag",
    "tie": "tie, necktie, neck tie, bow tie, bowtie",
    "suitcase": "suitcase, suit case, luggage/, baggage/, piece of luggage/pieces of luggage",
    "frisbee": "frisbee, flying disc, flying disk",
    "skis": "ski, snow ski, pair of skis/pairs of skis",
    "snowboard": "snowboard, snow board",
    "sports ball": "sports ball, ball, soccer ball, tennis ball, beach ball, golf ball, bowling ball, rugby ball",
    "kite": "kite, box kite",
    "baseball bat": "baseball bat, base ball bat, ball bat, bat",
    "baseball glove": "baseball glove, base ball glove, ball glove, baseball mitt, mitt, catchers mitt, catchers glove",
    "skateboard": "skateboard, skate board, longboard, long board",
    "surfboard": "surfboard, surf board, boogie board, body board, paddle board, paddleboard",
    "tennis racket": "tennis racket, tennis racquet, racket, racquet",
    "bottle": "bottle, water bottle, wine bottle, beer bottle, soda bottle",
    "wine glass": "wine glass, wineglass, wine goblet, champagne glass, champagne flute, glass of wine/glasses of wine",
    "cup": "cup, mug, coffee cup, coffee mug, teacup, tea cup, tumbler, drinking glass, beer glass, pint glass, "
    "glass of water/glasses of water, glass of milk/glasses of milk, glass of juice/glasses of juice, "
    "glass of beer/glasses of beer",
    "fork": "fork, salad fork, dinner fork",
    "knife": "knife/knives, butter knife/butter knives, steak knife/steak knives, pocket knife/pocket knives",
    "spoon": "spoon, teaspoon, tablespoon, serving spoon, soup spoon",
    "bowl": "bowl, soup bowl, mixing bowl, salad bowl, fruit bowl, dog bowl",
    "banana": "banana, plantain",
    "apple": "apple",
    "sandwich": "sandwich, burger, hamburger, cheeseburger, cheese burger, panini, hoagie, grilled cheese/",
    "orange": "orange, tangerine, clementine, mandarin, mandarin orange, navel orange",
    "broccoli": "broccoli, brocolli/, broccoli floret, head of broccoli/heads of broccoli",
    "carrot": "carrot, baby carrot, carrot stick",
    "hot dog": "hot dog, hotdog, frankfurter, chili dog, chilli dog",
    "pizza": "pizza, pizza pie, pizza slice, slice of pizza/slices of pizza",
    "donut": "donut, doughnut, donut hole, doughnut hole",
    "cake": "cake, cupcake, cup cake, birthday cake, wedding cake, cheesecake, cheese cake, carrot cake, shortcake",
    "chair": "chair, armchair, arm chair, recliner, rocking chair, lawn chair, beach chair, folding chair, "
    "office chair, high chair, highchair, stool, bar stool, barstool, lounge chair",
    "couch": "couch, sofa, loveseat, love seat, settee, futon, sofa bed, sectional sofa, sectional couch",
    "potted plant": "potted plant, potted flower, potted tree, potted palm, pot plant, house plant, houseplant, "
    "indoor plant, plant pot, flower pot, flowerpot, plant in a pot/plants in pots",
    "bed": "bed, bunk bed, bunkbed, mattress, twin bed, king size bed, hospital bed",
    "dining table": "dining table, dining room table, dinner table, kitchen table, picnic table, banquet table, table, "
    "tabletop, table top",
    "toilet": "toilet, commode, toilet bowl, toilet seat, toilet tank",
    "tv": "tv, television, tv set, television set, tv screen, television screen, flat screen, flatscreen, "
    "flat screen tv, flatscreen tv, monitor, computer monitor, computer screen",
    "laptop": "laptop, lap top, laptop computer, notebook computer, macbook",
    "mouse": "mouse/mice, computer mouse/computer mice",
    "remote": "remote, remote control, remote controller, tv remote, wii remote, wii controller, wiimote",
    "keyboard": "keyboard, key board, computer keyboard",
    "cell phone": "cell phone, cellphone, phone, mobile phone, mobile device, smartphone, smart phone, iphone, "
    "cellular phone, flip phone",
    "microwave": "microwave, microwave oven",
    "oven": "oven, stove, stovetop, stove top, pizza oven, stove oven",
    "toaster": "toaster",
    "sink": "sink, wash basin, washbasin, bathroom sink, kitchen sink",
    "refrigerator": "refrigerator, fridge, refridgerator, mini fridge",
    "book": "book, textbook, text book, novel, paperback, cookbook, cook book, comic book",
    "clock": "clock, alarm clock, wall clock, clock face, clock tower, grandfather clock",
    "vase": "vase, flower vase",
    "scissors": "scissors/, scissor, pair of scissors/pairs of scissors, shears/",
    "teddy bear": "teddy bear, teddy, teddybear, stuffed bear, stuffed teddy bear, toy bear, toy teddy bear",
    "hair drier": "hair drier, hair dryer, hairdryer, hairdrier, blow dryer, blow drier",
    "toothbrush": "toothbrush, tooth brush, electric toothbrush",
}  # fmt: skip
# Phrases in which a word above means something else.
OTHERWISE = (
    "corn dog, prairie dog, sea horse, rocking horse, saw horse, jet ski, jet skis, meat ball, meat balls, base "
    "ball, basket ball, foot ball, volley ball, disco ball, crystal ball, ball of yarn, pan cake, pan cakes, crab "
    "cake, crab cakes, rice cake, rice cakes, ice cream sandwich, pine apple, big apple, apple computer, apple "
    "laptop, gummy bear, koala bear, mickey mouse, hello kitty, rubber duck, rubber ducks, duck tape, red bull, "
    "model airplane, toy airplane, paper airplane, paper plane, toy car, toy cars, toy truck, toy train, train "
    "set, remote control car, remote control plane, flower bed, flower beds, river bed, bed of, truck bed, dog "
    "bed, pet bed, cable car, side car, gravy boat, aircraft carrier, hand truck, pool table, side table, end "
    "table, night table, coffee table, work bench, bench press, wheel chair, wheel chairs, chair lift, ski lift, "
    "toaster oven, oven mitt, oven mitts, pay phone, desk phone, piano keyboard, zip tie, railroad ties, at bat, "
    "to bat, to tie, to ski, tie dye, super bowl, world cup, suction cup, measuring cup, measuring cups, fork "
    "lift, fork in the road, pitch fork, snow man, gingerbread man, stick man, cake batter, pancake batter, table "
    "runner, exercise bike, couple of, crowd of, family of, phone booth, lamb chop, lamb chops, leg of lamb, "
    "dodge ram, table tennis, semi circle, ship wreck, head phones, ear phones, burger king"
)
# Before one of these a noun says what kind of a thing that is, and is not to be seen itself: a bus stop, a dog house.
HEADS = frozenset(
    """bath bowl box boxes bread brush cage carriage carriages cart cider collar collars costume costumes court
    cover cross crossing cutter dish dock door doors dough drawing enclosure exhibit factory feed feeder feeders
    fence festival field figurine figurines food frame garage hat hats helmet helmets holder house houses juice
    lane lanes leaf leaves litter logo lot magnet mat museum nest outfit pad painting paintings paper park
    parlor path pattern pen photo picture pictures pie plate platform print prints race rack racks ramp ramps
    restaurant room sauce sculpture sculptures seat seats seed shaped shelf shelter shirt shoe shoes shop show
    sign signs slope slopes stand stands station stations statue statues stop store stores striped stripes tag
    tent themed toy toys track tracks trail treat tree trees trick tricks tunnel wash yard zoo""".split()
)
# These are verbs right after one who does it: a man skis, a boy bats.
DOINGS = frozenset("bats boats books bowls ducks forks kites ships skateboards skis snowboards ties trains".split())
# These count only as plain nouns: an orange on a plate, not an orange cat, a remote beach.
PLAIN = frozenset(("orange", "ski", "remote"))
BEFORE = frozenset(
    """a an the one another each single this that his her their its my half whole peeled sliced ripe fresh cut wii
    game tv""".split()
)
AFTER = frozenset(
    """and or on in with is are that which sitting laying lying hanging resting next near at from to of for by while as
    beside between under over behind inside into has being""".split()
)
COLOURS = frozenset("black white red green blue yellow brown grey gray pink purple orange tan gold silver".split())
# Of animals as well: these are people only where the caption names no animal.
KIN = frozenset(
    """baby babies mother mothers mom moms father fathers dad dads parent parents adult adults family families son sons
    daughter daughters male males female females couple couples infant infants teen friend friends""".split()
)
ANIMALS = ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe")
Form = tuple[str, ...]  # the tokens of a word


class Mention(NamedTuple):
    """Which tokens of a caption name a thing, ``start`` to ``stop``, the last excluded; and its category."""

    start: int
    stop: int
    category: str


class Name(NamedTuple):
    """What a form names: a category, "" if none of them; and whether it may be several."""

    category: str
    many: bool


def _named(category: str, nouns: str) -> dict[Form, Name]:
    """Each noun, and its plural."""
    found = {}
    for noun in nouns.split(", "):
        singular, stroke, many = noun.partition("/")
        found[tuple(tokens(singular))] = Name(category, bool(stroke and not many))
        if many or not stroke:
            found[tuple(tokens(many or plural(singular)))] = Name(category, True)
    return found


FORMS = {form: name for category, nouns in NOUNS.items() for form, name in _named(category, nouns).items()}


def visual(caption: str, categories: Collection[str]) -> list[Mention]:
    """The words of a caption that name things of these categories, in the order of the caption.

    Tokens are `vocabulary.tokens`, ``categories`` those of COCO, of scenes or any others: each is found by its own name
    and plural, and COCO's by all `FORMS`. The longest form goes first: a hot dog is no dog. Left out is what may mean
    something else: "orange" but as a plain noun, "skis" after who does it, a noun that another follows (bus stop,
    dog house), and mothers, babies and the like where the caption names animals.
    """
    words, forms = tokens(caption), _forms(tuple(categories))
    found, start = [], 0
    while start < len(words):
        stop = next((i for i in range(len(words), start, -1) if tuple(words[start:i]) in forms), 0)
        if stop:
            name = forms[tuple(words[start:stop])]
            found += [Mention(start, stop, name.category)] * _shown(words, start, stop, name)
        start = stop or start + 1
    if any(each.category in ANIMALS for each in found):
        found = [each for each in found if words[each.start] not in KIN]
    return [each for each in found if each.category in categories]


@cache
def _forms(categories: tuple[str, ...]) -> dict[Form, Name]:
    """All forms; a name of a category means that one, whatever it means in COCO."""
    own = {form: name for each in categories for form, name in _named(each, each).items()}
    others = {tuple(phrase.split()): Name("", False) for phrase in OTHERWISE.split(", ")}
    return FORMS | others | own


def _shown(words: list[str], start: int, stop: int, name: Name) -> bool:
    """Whether what stands around a form lets it name the thing itself."""
    word = " ".join(words[start:stop])
    before, (after, next_) = words[start - 1] if start else "", [*words[stop : stop + 2], "", ""][:2]
    if name.category != "person" and not name.many and after in HEADS:
        return False
    if word in DOINGS:
        return FORMS.get((before,), Name("", True)) != Name("person", False)
    if word in PLAIN:
        return before in BEFORE and after in {"", *AFTER} and not (after in ("and", "or") and next_ in COLOURS)
    return bool(name.category)

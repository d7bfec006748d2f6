"""The things of the drawn scenes: their names, sizes, colours and what they do; it knows no places.

Lengths are thousandths of the picture's side, so that a scene is the same at every size.
"""

from __future__ import annotations

from dataclasses import dataclass

RGB = tuple[int, int, int]

COLOURS: dict[str, RGB] = {
    "red": (214, 40, 44),
    "orange": (245, 134, 26),
    "yellow": (250, 212, 44),
    "green": (58, 158, 72),
    "blue": (44, 104, 214),
    "purple": (130, 66, 178),
    "pink": (246, 140, 184),
    "brown": (128, 82, 46),
    "white": (247, 247, 244),
    "black": (42, 42, 50),
}

COUNT_WORDS = {1: "a", 2: "two", 3: "three", 4: "four", 5: "five"}

_VIVID = ("red", "orange", "yellow", "green", "blue", "purple", "pink")
_PAINT = (*_VIVID, "white", "black")
_FURNITURE = ("red", "green", "blue", "brown", "white", "yellow", "purple")
_FUR = ("brown", "black", "white", "orange")
_CLOTHES = ("red", "yellow", "green", "blue", "purple", "pink", "orange")

STAND = ("stands", "stand")
FLY = ("flies", "fly")
SWIM = ("swims", "swim")
FLOAT = ("floats", "float")
LIE = ("lies", "lie")
BE = ("is", "are")


@dataclass(frozen=True)
class Kind:
    """One kind of thing.

    Attributes:
        names: (singular, plural) pairs that mean exactly this kind; the first is the usual one.
        width: width of a thing of ordinary size, in thousandths of the picture's side.
        height: its height, likewise.
        colours: colour words it can have; empty where a colour is never said.
        verb: what it does where it is, singular and plural.
        form: how the colour joins the name, singular and plural; {n} is the name, {c} the colour.
        most: the highest count of one group.
        family: kinds of one family never meet in a picture, because one word could mean both.
    """

    names: tuple[tuple[str, str], ...]
    width: int
    height: int
    colours: tuple[str, ...]
    verb: tuple[str, str] = BE
    form: tuple[str, str] = ("{c} {n}", "{c} {n}")
    most: int = 4
    family: str = ""


_SHIRT = ("{n} in a {c} shirt", "{n} in {c} shirts")
_DRESS = ("{n} in a {c} dress", "{n} in {c} dresses")
_SUIT = ("{n} in a {c} suit", "{n} in {c} suits")
_SCARF = ("{n} with a {c} scarf", "{n} with {c} scarves")

KINDS: dict[str, Kind] = {
    # vehicles
    "boat": Kind((("boat", "boats"), ("sailboat", "sailboats")), 230, 240, _PAINT, FLOAT, most=3),
    "car": Kind((("car", "cars"),), 260, 130, _PAINT, BE, most=3),
    "bus": Kind((("bus", "buses"),), 330, 180, _VIVID, BE, most=2),
    "truck": Kind((("truck", "trucks"), ("lorry", "lorries")), 310, 175, _PAINT, BE, most=2),
    "bicycle": Kind((("bicycle", "bicycles"), ("bike", "bikes")), 230, 150, _PAINT, STAND, most=3),
    "train": Kind((("train", "trains"),), 420, 170, (*_VIVID, "black"), BE, most=1),
    "airplane": Kind((("airplane", "airplanes"), ("plane", "planes")), 260, 120, _PAINT, FLY, most=3),
    "rocket": Kind((("rocket", "rockets"), ("spaceship", "spaceships")), 150, 290, _VIVID, BE, most=3),
    "balloon": Kind((("hot air balloon", "hot air balloons"),), 180, 240, _VIVID, FLOAT, most=4),
    "submarine": Kind((("submarine", "submarines"),), 290, 170, _VIVID, FLOAT, most=2),
    # buildings and street furniture
    "house": Kind((("house", "houses"),), 260, 260, _PAINT[:8], STAND, most=2),
    "lighthouse": Kind(
        (("lighthouse", "lighthouses"),), 150, 400, ("red", "blue", "green", "black", "orange"), STAND, most=2
    ),
    "castle": Kind(
        (("castle", "castles"),), 340, 310, ("white", "pink", "brown", "blue", "purple"), STAND, most=1
    ),
    "windmill": Kind(
        (("windmill", "windmills"),), 240, 330, ("red", "white", "blue", "brown", "yellow"), STAND, most=2
    ),
    "tent": Kind((("tent", "tents"),), 260, 180, _VIVID, STAND, most=3),
    "bench": Kind((("bench", "benches"),), 250, 140, _FURNITURE, STAND, most=2),
    "lamp": Kind(
        (("street lamp", "street lamps"), ("lamp post", "lamp posts")),
        100,
        350,
        ("black", "green", "red", "blue"),
        STAND,
        most=3,
    ),
    "bridge": Kind((("bridge", "bridges"),), 460, 170, ("red", "brown", "white", "green"), STAND, most=1),
    # nature
    "tree": Kind((("tree", "trees"),), 220, 320, ("green", "orange", "yellow", "pink"), STAND, most=3),
    "flower": Kind(
        (("flower", "flowers"),),
        130,
        210,
        ("red", "yellow", "purple", "pink", "white", "orange", "blue"),
        STAND,
        most=5,
    ),
    "mushroom": Kind(
        (("mushroom", "mushrooms"),), 160, 170, ("red", "brown", "orange", "purple", "yellow"), STAND, most=4
    ),
    "cactus": Kind(
        (("cactus", "cacti"),),
        160,
        290,
        ("red", "pink", "yellow", "purple", "white"),
        STAND,
        ("{n} with a {c} flower", "{n} with {c} flowers"),
    ),
    "star": Kind(
        (("star", "stars"),),
        160,
        160,
        ("yellow", "white", "red", "pink", "orange"),
        BE,
        most=5,
        family="star",
    ),
    "moon": Kind(
        (("moon", "moons"), ("crescent moon", "crescent moons")),
        170,
        200,
        ("yellow", "white", "orange"),
        BE,
        most=1,
    ),
    "cloud": Kind((("cloud", "clouds"),), 250, 130, ("white", "pink", "black"), FLOAT, most=3),
    "planet": Kind((("planet", "planets"),), 250, 190, _VIVID, BE, most=3),
    # people and the like
    "man": Kind((("man", "men"),), 130, 320, _CLOTHES, STAND, _SHIRT),
    "woman": Kind((("woman", "women"),), 140, 310, _CLOTHES, STAND, _DRESS),
    "child": Kind((("child", "children"), ("kid", "kids")), 130, 220, _CLOTHES, STAND, _SHIRT),
    "astronaut": Kind(
        (("astronaut", "astronauts"),),
        170,
        270,
        ("white", "orange", "blue", "red", "green", "yellow"),
        FLOAT,
        _SUIT,
        most=3,
    ),
    "robot": Kind((("robot", "robots"),), 180, 250, (*_VIVID, "white"), STAND, most=3),
    "snowman": Kind((("snowman", "snowmen"),), 180, 290, _CLOTHES, STAND, _SCARF, most=3),
    # animals
    "dog": Kind((("dog", "dogs"),), 220, 170, _FUR, STAND),
    "cat": Kind((("cat", "cats"),), 170, 190, _FUR, ("sits", "sit")),
    "horse": Kind((("horse", "horses"),), 280, 250, ("brown", "black", "white"), STAND, most=3),
    "cow": Kind((("cow", "cows"),), 280, 190, ("brown", "black", "white"), STAND, most=3),
    "sheep": Kind((("sheep", "sheep"),), 220, 170, ("white", "black", "brown"), STAND),
    "pig": Kind((("pig", "pigs"),), 220, 150, ("pink", "black", "brown"), STAND),
    "rabbit": Kind(
        (("rabbit", "rabbits"), ("bunny", "bunnies")), 140, 200, ("white", "brown", "black"), ("sits", "sit")
    ),
    "fox": Kind((("fox", "foxes"),), 240, 160, ("orange", "white", "brown"), STAND, most=3),
    "bear": Kind((("bear", "bears"),), 270, 200, ("brown", "black", "white"), STAND, most=3),
    "bird": Kind((("bird", "birds"),), 200, 150, _PAINT, FLY, most=5, family="bird"),
    "duck": Kind((("duck", "ducks"),), 190, 160, ("yellow", "white", "brown", "green"), SWIM, family="bird"),
    "chicken": Kind(
        (("chicken", "chickens"), ("hen", "hens")),
        170,
        180,
        ("white", "brown", "orange", "black"),
        STAND,
        family="bird",
    ),
    "penguin": Kind((("penguin", "penguins"),), 140, 220, _CLOTHES, STAND, _SCARF, family="bird"),
    "fish": Kind((("fish", "fish"),), 210, 130, _PAINT, SWIM, most=5),
    "turtle": Kind(
        (("turtle", "turtles"),), 230, 140, ("green", "brown", "purple", "orange", "yellow"), SWIM, most=3
    ),
    "whale": Kind((("whale", "whales"),), 340, 190, ("blue", "black", "white", "purple"), SWIM, most=2),
    "jellyfish": Kind(
        (("jellyfish", "jellyfish"),), 160, 210, ("pink", "purple", "orange", "white", "yellow"), FLOAT
    ),
    "octopus": Kind(
        (("octopus", "octopuses"),), 220, 200, ("red", "purple", "orange", "pink", "green"), SWIM, most=3
    ),
    "starfish": Kind(
        (("starfish", "starfish"),),
        160,
        160,
        ("red", "orange", "pink", "purple", "yellow"),
        LIE,
        family="star",
    ),
    "crab": Kind((("crab", "crabs"),), 200, 140, ("red", "orange", "purple", "blue"), BE),
    "butterfly": Kind(
        (("butterfly", "butterflies"),),
        170,
        150,
        ("orange", "yellow", "blue", "purple", "red", "pink", "white"),
        FLY,
        most=5,
    ),
    # objects
    "kite": Kind((("kite", "kites"),), 170, 240, _VIVID, FLY),
    "umbrella": Kind((("umbrella", "umbrellas"), ("parasol", "parasols")), 240, 280, _VIVID, STAND, most=3),
    "ball": Kind((("ball", "balls"),), 160, 160, _PAINT[:8], LIE),
    "table": Kind((("table", "tables"),), 290, 170, _FURNITURE, STAND, most=2, family="table"),
    "chair": Kind((("chair", "chairs"),), 150, 240, _FURNITURE, STAND, most=4),
    "sofa": Kind((("sofa", "sofas"), ("couch", "couches")), 370, 190, _FURNITURE, STAND, most=1),
    "cup": Kind((("cup", "cups"), ("mug", "mugs")), 180, 160, _PAINT, STAND),
    "teapot": Kind((("teapot", "teapots"),), 230, 180, _PAINT[:8], STAND, most=3),
    "bottle": Kind(
        (("bottle", "bottles"),), 100, 270, ("green", "blue", "brown", "red", "purple", "orange"), STAND
    ),
    "cake": Kind(
        (("cake", "cakes"),), 230, 200, ("pink", "white", "brown", "blue", "yellow", "green"), STAND, most=3
    ),
    "apple": Kind((("apple", "apples"),), 160, 170, ("red", "green", "yellow"), LIE, most=5),
    "banana": Kind((("banana", "bananas"),), 210, 140, ("yellow", "green", "brown"), LIE),
    "book": Kind((("book", "books"),), 170, 200, (*_VIVID, "brown", "black"), STAND),
    "guitar": Kind(
        (("guitar", "guitars"),),
        140,
        340,
        ("brown", "red", "black", "blue", "white", "orange"),
        STAND,
        most=3,
    ),
    "clock": Kind((("clock", "clocks"),), 190, 190, (*_VIVID, "black", "brown"), ("hangs", "hang"), most=3),
    "plant": Kind(
        (("potted plant", "potted plants"),),
        170,
        260,
        ("red", "orange", "blue", "white", "yellow", "purple", "pink"),
        STAND,
        ("{n} in a {c} pot", "{n} in {c} pots"),
    ),
}

"""Lists of words that the levels draw from. All made up or everyday; no brands of people or firms."""

CODE_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"  # no I or O: in many faces they are l, 1 and 0

_SHORT_WORDS = """
apple arch atlas aunt axle bacon badge bake bank barn basin beach bell bench berry bird blaze boat bolt
bone book boot bowl brick bridge bucket cabin cake camel camp candle canoe card cargo castle cedar chair
chalk cherry clay cliff clock cloud coal coast coffee comet copper coral cork corn cotton crab crane
crow crown dawn deer delta desk diner dock door dove dragon drum duck dune dust eagle earth echo elbow
elm ember engine exit falcon farm fern ferry field fig film fire fish flag flint flute fog forest fork
fox frog frost garage garden gate gem ghost glass globe goat gold grape grass gravel guide gull hammer
harbor hawk hazel helmet hill honey hook horn horse hotel ice inn iron island ivory jacket jar jelly
kettle key kite lake lamp lark leaf lemon lily linen lion lobby lock lunar lunch magnet mango maple
market meadow melon metro milk mill mint mirror moon moss motor mouse museum nest north nut oak oasis
ocean olive onion opera orbit otter owl paint palm panda paper park pearl pepper piano pilot pine pizza
plum pocket pond pony poppy post quartz queen rabbit radar rain raven reef ribbon rice river robin
rocket roof rope rose ruby sail salt sand saturn school seal shell ship silk silver sky snail snow soap
south spoon spring star stone storm sugar summit sun swan table tank taxi tea temple tent tiger toast
torch tower train tulip tunnel turtle valley velvet violet walnut water whale wheat wheel willow wind
window winter wolf wood yacht zebra zone
"""
SHORT_WORDS = tuple(_SHORT_WORDS.split())

TOOLS = (
    "python", "node", "ruby", "cargo", "cmake", "sqlite3", "nginx", "rsync", "curl", "ffmpeg", "perl",
    "gcc",
)  # fmt: skip
PACKAGES = (
    "tidyframe", "quickparse", "lumen", "gridlock", "papertrail", "fastdiff", "mapkit", "sundial",
    "oakdb",
)  # fmt: skip
FILES = (
    "report.csv", "notes.md", "settings.yaml", "backup.tar", "index.html", "main.py", "users.json",
    "model.bin", "invoice.pdf", "photo.png", "server.log", "Makefile", "setup.cfg", "schema.sql",
    "intro.txt", "map.svg",
)  # fmt: skip
FOLDERS = (
    "src", "docs", "tests", "build", "assets", "scripts", "deploy", "vendor", "legacy", "plugins",
    "locale", "fixtures", "exports", "archive", "reports", "samples",
)  # fmt: skip
HOSTS = (
    "mail.internal", "db.internal", "cache.internal", "build.internal", "files.internal",
    "auth.internal",
)  # fmt: skip
SHOPS = (
    "Corner Market", "Blue Door Bakery", "Harbor Foods", "Green Lane Grocers", "Sunrise Deli",
    "Old Mill Store", "Station Kiosk", "Hilltop Pantry", "Riverside Cafe", "Night Owl Express",
)  # fmt: skip
GOODS = (
    "Oat milk", "Rye bread", "Apples 1kg", "Green tea", "Eggs x10", "Butter", "Tomatoes", "Rice 500g",
    "Coffee", "Yoghurt", "Olive oil", "Pasta", "Honey", "Cheddar", "Bananas", "Soap", "Paper towel",
    "Dark choc", "Carrots", "Batteries", "Walnuts", "Lemonade", "Mustard", "Crackers", "Salmon",
    "Spinach", "Candles", "Matches", "Cocoa", "Lentils", "Peanuts", "Granola", "Ginger", "Basil",
    "Onions", "Pickles",
)  # fmt: skip
CITIES = (
    "Lisbon", "Oslo", "Nairobi", "Lima", "Osaka", "Turin", "Quito", "Leeds", "Porto", "Bergen", "Accra",
    "Hanoi", "Perth", "Graz", "Malaga", "Riga", "Tunis", "Denver", "Cork", "Gdansk",
)  # fmt: skip
NAMES = (
    "A. Moreno", "B. Lindqvist", "C. Okafor", "D. Hartmann", "E. Rossi", "F. Tanaka", "G. Novak",
    "H. Svensson", "I. Petrov", "J. Dubois", "K. Mensah", "L. Castillo", "M. Ferreira", "N. Haddad",
    "O. Larsen", "P. Kowalski", "Q. Nguyen", "R. Banerjee", "S. Jansen", "T. Adeyemi", "U. Fischer",
    "V. Costa", "W. Chen", "X. Romero", "Y. Suzuki", "Z. Ahmed", "A. Walsh", "B. Marino", "C. Yilmaz",
    "D. Eriksen", "E. Popescu", "F. Quinn",
)  # fmt: skip

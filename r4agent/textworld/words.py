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

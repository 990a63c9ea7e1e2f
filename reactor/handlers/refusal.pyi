from handlers.refusal import *

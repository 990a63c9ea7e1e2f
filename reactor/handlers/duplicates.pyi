from handlers.duplicates import *

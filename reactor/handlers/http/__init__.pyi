from handlers.http import *

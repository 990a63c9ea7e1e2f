from handlers.elsewhere import *

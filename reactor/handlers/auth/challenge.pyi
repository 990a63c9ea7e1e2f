from handlers.auth.challenge import *

from handlers.auth.attempts import *

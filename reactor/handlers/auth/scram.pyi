from handlers.auth.scram import *

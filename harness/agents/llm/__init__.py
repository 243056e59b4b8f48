"""The agent that asks a language model, and everything between a prompt and a proposal.

protocol.py         what is asked and answered, whoever serves it
openai_backend.py   any OpenAI-compatible endpoint, through the official client
reading.py          bodies of answers, and refusals.py those of errors, whatever shape servers give them
recording.py        answers on disk: recorded as they come, replayed without a network
prices.py           what tokens cost; `prices.toml` is the table that a user may override
answers.py          from an answer to a file, or to a sentence that says what was wrong with the answer
evidence.py         what the judge said, in less than 6,000 characters, made by code
suspects.py         the lines that may be at fault, where the judge names a result
dependence.py       what a result is computed from, read off the text
contract.py         the rules as the judge has them and the notes of a family
texts.py            what the text of a mechanism says about itself
operators.py        draft, debug, improve, crossover, simplify: which one, and what it says
prompts.py          the texts in prompts/
agent.py            the agent: a round at a time, every answer counted once
"""

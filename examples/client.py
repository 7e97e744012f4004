"""Ask three variants about a scan from a program, and flag what is wrong.

    python examples/client.py scan.dcm "Is there a pleural effusion?" --address http://127.0.0.1:7860

Needs nothing but `pip install gradio_client`. `Client(ADDRESS).view_api()` lists all parameters.
"""

import argparse

from gradio_client import Client, handle_file

parser = argparse.ArgumentParser(description="Ask three variants about a scan.")
parser.add_argument("scans", nargs="+", help="one picture, or the files of one series")
parser.add_argument("question")
parser.add_argument("--address", default="http://127.0.0.1:7860")
parser.add_argument("--checked", action="store_true", help="nothing in it names a person")
parser.add_argument("--flag", metavar="ARM", help="flag this arm's answer as a missed finding")
arguments = parser.parse_args()

client = Client(arguments.address, verbose=False)
said = client.predict(
    scans=[handle_file(path) for path in arguments.scans],
    question=arguments.question,
    checked=arguments.checked,
    api_name="/compare",
)
for answer in said["answers"]:
    print(f"{answer['label']}: {answer['answer']}\n   {answer['reasoning']}")
if arguments.flag:
    flag = client.predict(
        exchange=said["exchange"],
        arm=arguments.flag,
        category="missed-finding",
        severity="minor",
        comment="Flagged by a program.",
        api_name="/flag",
    )
    print(f"Flag {flag['flag']} is kept.")

"""Values that are not those of a bucket of 10 at 5 per second, nor of any other."""

LIMIT = ":315e3::10"
NOW = "1790000000123457"
PLACE = ";1:1:1:5:0:6:0:7:0"

MALFORMED = [
    *("", "x", "5", NOW, LIMIT, "[1, 2]", "1030020000000123456", f"{NOW}+5:315e3:63e9"),
    *(f"{NOW[:-1]}{LIMIT}", f"1{NOW}{LIMIT}", f" {NOW[1:]}{LIMIT}", f"0x{NOW[2:]}{LIMIT}x"),
    *(f"-{NOW[:-2]}{LIMIT}", f"+{NOW[1:]}{LIMIT}x", f"9999999999999999{LIMIT}"),
    *(f"{NOW}+{LIMIT}", f"{NOW}+0{LIMIT}", f"{NOW}+315000{LIMIT}", f"{NOW}+-5{LIMIT}"),
    *(
        f"{NOW}+1e3{LIMIT}",
        f"{NOW}+05{LIMIT}",
        f"{NOW}+99999999999999999999{LIMIT}",
        f"{NOW}5{LIMIT}",
    ),
    *(f"{NOW}:0:63e9:10", f"{NOW}:315e3:0:10", f"{NOW}:315e3:63e9:0", f"{NOW}:315e3:63e9:0.0"),
    *(f"{NOW}:315e3:63e9:", f"{NOW}::63e9:10", f"{NOW}:315e3:63e9"),
    *(f"{NOW}:1e16:63e9:10", f"{NOW}:315e3:1e99:10", f"{NOW}:315e999999999:63e9:10"),
    *(f"{NOW}:e3:63e9:10", f"{NOW}:315e:63e9:10", f"{NOW}:-315e3:63e9:10", f"{NOW}:0x5:63e9:10"),
    *(f"{NOW}:315e3:63e9:1e999999999", f"{NOW}:315e3:63e9:1e99", f"{NOW}:315e3:63e9:nan"),
    *(
        f"{NOW}:315e3:63e9:inf",
        f"{NOW}:315e3:63e9:-10",
        f"{NOW}:315e3:63e9:1..2",
        f"{NOW}:315e3:63e9:.5",
    ),
    *(
        f"{NOW}:315e3:63e9:5.",
        f"{NOW}:315e3:63e9:e5",
        f"{NOW}:315e3:63e9:1e5e5",
        f"{NOW}:315e3:63e9:1-5",
    ),
    *(
        f"{NOW}{LIMIT}x",
        f"{NOW}{LIMIT} ",
        f"{NOW}{LIMIT}\n",
        f"{NOW}{LIMIT}:5",
        f"{NOW}{LIMIT}={NOW}",
    ),
    *(f"{NOW}{LIMIT}!", f"{NOW}{LIMIT}!x", f"{NOW}{LIMIT}!-5", f"{NOW}{LIMIT}!{NOW}!{NOW}"),
    *(f"{NOW}{LIMIT}!99999999999999999", f"{NOW}{LIMIT}!{NOW}x", f"{NOW}{LIMIT}!" + "9" * 5000),
    *(f"{NOW}{LIMIT};", f"{NOW}{LIMIT};;", f"{NOW}{LIMIT}{PLACE};", f"{NOW}{LIMIT}{PLACE}x"),
    *(f"{NOW}{LIMIT};1:1:1:5:0:6:0:7", f"{NOW}{LIMIT}{PLACE}:0", f"{NOW}{LIMIT};1:1:1:5:0:6:0:7:x"),
    *(
        f"{NOW}{LIMIT};1:1:0:5:0:6:0:7:0",
        f"{NOW}{LIMIT};1:1:2:5:0:6:0:7:9",
        f"{NOW}{LIMIT};::::::::",
    ),
    *(f"{NOW}{LIMIT};1:1:1:5:315000:6:0:7:0", f"{NOW}{LIMIT};1:1:1:5:0:6:315000:7:0"),
    *(f"{NOW}{LIMIT};1:1:1:-5:0:6:0:7:0", f"{NOW}{LIMIT};1:1:1:5:0:9999999999999999:0:7:0"),
    *(f"{NOW}{LIMIT};1:1:1:5:0:6:0:7:{'9' * 5000}", f"x{PLACE}", f"{NOW}{LIMIT}{PLACE}!{NOW}"),
]

"""The starting set, in Portuguese: installed once for a tenant, then the tenant's to change.

Its priorities are below the default of a new rule (50), so that what a tenant adds goes first. The
ids of its buttons are ids of rules: a tap on one is answered by that rule.
"""

from typing import Any, Final

_TALK: Final = {"id": "atendente", "title": "Falar com atendente"}
_HOURS: Final = {"id": "horario", "title": "Horário"}

DEFAULT_RULES: Final[list[dict[str, Any]]] = [
    {
        "id": "atendente",
        "name": "Falar com atendente",
        "trigger": {
            "type": "Keyword",
            "words": ["atendente", "humano", "falar com alguém", "falar com uma pessoa", "suporte"],
            "match_type": "WholeWord",
        },
        "response": {
            "action": "TransferToAgent",
            "department": "atendimento",
            "text": "Certo, {{first_name|tudo bem}}! Vou chamar uma pessoa da nossa equipe. Aguarde um instante, por favor.",
        },
        "business_hours_only": True,
        "priority": 45,
    },
    {
        "id": "horario",
        "name": "Horário de atendimento",
        "trigger": {
            "type": "Keyword",
            "words": ["horário", "que horas", "aberto", "funcionamento", "abre", "fecha"],
            "match_type": "WholeWord",
        },
        "response": {
            "action": "SendMessage",
            "text": "🕘 Nosso horário de atendimento: {{business_hours}}.",
        },
        "priority": 40,
    },
    {
        "id": "menu",
        "name": "Menu principal",
        "trigger": {
            "type": "Keyword",
            "words": ["menu", "opções", "ajuda", "voltar ao menu"],
            "match_type": "WholeWord",
        },
        "response": {
            "action": "SendMenu",
            "text": "Como podemos ajudar? Escolha uma opção:",
            "button": "Ver opções",
            "options": [
                {
                    "id": "menu-produtos",
                    "title": "Produtos e preços",
                    "description": "O que oferecemos",
                    "response": {
                        "action": "SendMessage",
                        "text": "Conte o que você procura e nós respondemos com os detalhes.",
                    },
                },
                {
                    "id": "menu-pedido",
                    "title": "Meu pedido",
                    "description": "Andamento e entrega",
                    "response": {
                        "action": "SendMessage",
                        "text": "Envie o número do seu pedido, por favor.",
                    },
                },
                {
                    "id": "menu-horario",
                    "title": "Horário de atendimento",
                    "response": {
                        "action": "SendMessage",
                        "text": "🕘 Nosso horário de atendimento: {{business_hours}}.",
                    },
                },
                {**_TALK, "description": "Uma pessoa da equipe"},
            ],
        },
        "priority": 40,
    },
    {
        "id": "boas-vindas",
        "name": "Boas-vindas",
        "trigger": {"type": "Welcome", "after_silence_hours": 720},
        "response": {
            "action": "SendMessage",
            "text": "{{greeting}}, {{first_name|tudo bem}}! 👋 Que bom receber sua mensagem. Como podemos ajudar?",
            "buttons": [{"id": "menu", "title": "Ver opções"}, _HOURS, _TALK],
        },
        "priority": 30,
    },
    {
        "id": "fora-do-horario",
        "name": "Fora do horário",
        "trigger": {"type": "OutOfHours"},
        "response": {
            "action": "SendMessage",
            "text": "No momento estamos fechados. Voltamos {{opens_at}} e responderemos assim que possível. 🌙",
        },
        "priority": 20,
    },
    {
        "id": "nao-entendi",
        "name": "Não entendi",
        "trigger": {"type": "Default"},
        "response": {
            "action": "SendMessage",
            "text": "Desculpe, não entendi. Posso mostrar as opções ou chamar uma pessoa.",
            "buttons": [{"id": "menu", "title": "Ver opções"}, _TALK],
        },
        "business_hours_only": True,
        "cooldown_seconds": 60,
        "priority": 0,
    },
]
"""As ``POST /rules`` takes them."""
